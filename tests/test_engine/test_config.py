from collections import OrderedDict

import mmengine.registry as root
import pytest
from pure_python import write_pure_python

from mmpose_ext.engine import config
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError

HRNET = 'td-hm_hrnet-w32_8xb64-210e_coco-256x192'
IN_MMPOSE = f'mmpose::body_2d_keypoint/topdown_heatmap/coco/{HRNET}.py'
OURS = 'ram-gpr_hrnet-w32_4xb8-240e_coco-256x192'


@pytest.mark.parametrize('name', [HRNET, f'{HRNET}.py', IN_MMPOSE])
def test_config_of_mmpose(name):
    assert load_config(name).filename.endswith(f'coco/{HRNET}.py')


@pytest.mark.parametrize('name', [OURS, f'mmpose_ext::ram_gpr/{OURS}.py'])
def test_config_of_ours(name):
    assert load_config(name).model.neck.type == 'GPRNeck'


def test_config_by_path(tiny_config):
    assert load_config(str(tiny_config)).model.backbone.depth == 18


@pytest.mark.parametrize('scope', ['mmpose', None])
def test_classes_get_their_names(scope, tmp_path):
    path = write_pure_python(tmp_path / 'a', tmp_path, scope)
    cfg = load_config(str(path))
    prefix = '' if scope else 'mmpose.'
    assert cfg.model.type == f'{prefix}TopdownPoseEstimator'
    assert cfg.codec.type == f'{prefix}MSRAHeatmap'
    # What is in MMEngine's root needs no prefix.
    assert cfg.val_dataloader.dataset.pipeline[0].type == f'{prefix}LoadImage'
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert cfg.optim_wrapper.optimizer.type == 'Adam'
    assert cfg.custom_hooks[0].type == 'RandomStateHook'
    assert cfg.default_hooks.badcase.type == f'{prefix}BadCaseAnalysisHook'


def test_a_name_that_a_scope_hides_gets_its_prefix(monkeypatch):
    class Other:
        """Registered in the root under a name that MMPose has, too."""

    names = root.MODELS.module_dict
    monkeypatch.setitem(names, 'TopdownPoseEstimator', Other)
    name = config._registered_name(Other, 'mmpose')
    assert name == 'mmengine.TopdownPoseEstimator'
    assert config._registered_name(Other, 'mmengine') == 'TopdownPoseEstimator'


def test_a_class_without_a_name_stays(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text(
        'from collections import OrderedDict\n'
        'from mmpose.models import ResNet\n'
        'a = dict(type=OrderedDict)\nb = [dict(type=ResNet)]\n'
    )
    cfg = load_config(str(path))
    assert cfg.a.type is OrderedDict
    assert cfg.b[0].type == 'mmpose.ResNet'


@pytest.mark.parametrize(
    'name, message',
    [
        ('td-hm_hrnet-w32_8xb64-210e_coco-256x193', "did you mean 'td-hm_hrn"),
        ('mmpose::body.py', 'mmpose has no config body.py'),
        ('mmnothing::x.py', "package 'mmnothing' is not installed"),
    ],
)
def test_no_such_config(name, message):
    with pytest.raises(InputError, match=message):
        load_config(name)


def test_two_configs_of_one_name(tmp_path, monkeypatch):
    for folder in 'ab':
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'twin.py').touch()
    monkeypatch.setattr(
        config,
        '_configs_of',
        lambda package: tmp_path / ('a' if package == 'mmpose' else 'b'),
    )
    with pytest.raises(InputError, match=r'ambiguous.*b/twin\.py, .*a/twin'):
        load_config('twin')


@pytest.mark.parametrize('text', ['model = dict(', "_base_ = 'none.py'"])
def test_broken_config(text, tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text(text)
    with pytest.raises(InputError, match=r'cannot read config .*broken\.py'):
        load_config(str(path))
