"""Models in the package: those that are there, and stand-ins."""

import pytest
import torch
from mmengine.config import Config

from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError
from mmpose_ext.inference import shipped
from mmpose_ext.inference.poses import load_pose_model
from mmpose_ext.inference.shipped import find_shipped, shipped_models

CONFIG = 'ram-gpr_hrnet-w32_4xb8-240e_coco-256x192'
# A dot in a name is not the beginning of a suffix.
TOY = 'gccpm-2stage_ushape_mobilenet-v1-w0.5_1xb8-12e_toy-lip-128x128'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in (CONFIG, TOY):
        (tmp_path / f'{name}.pth').touch()
    monkeypatch.setattr(shipped, 'WEIGHTS', tmp_path)
    return tmp_path


@pytest.mark.parametrize('name', [CONFIG, TOY])
def test_by_name_and_by_path(folder, name):
    assert shipped_models() == [TOY, CONFIG]
    config, weights = find_shipped(name)
    assert weights == folder / f'{name}.pth'
    assert config.name == f'{name}.py'
    assert Config.fromfile(config).model.type == 'TopdownPoseEstimator'
    assert find_shipped(str(config)) == (config, weights)


def test_others_need_a_checkpoint(folder):
    message = f'needs a checkpoint: .* in the package are {TOY}, {CONFIG}'
    with pytest.raises(InputError, match=f"^'my.py' {message}$"):
        find_shipped('my.py')
    with pytest.raises(InputError, match=f"; did you mean '{CONFIG}'\\?$"):
        find_shipped(CONFIG.replace('hrnet', 'hrent'))
    # It has a config, which is not enough.
    other = CONFIG.replace('w32', 'w48')
    with pytest.raises(InputError, match=f"^'{other}' {message}"):
        find_shipped(other)


def test_a_package_without_any(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, 'WEIGHTS', tmp_path)
    assert shipped_models() == []
    with pytest.raises(InputError, match=r'in the package are none$'):
        find_shipped(CONFIG)


def test_the_default_is_there():
    names = shipped_models()
    assert not names or shipped.DEFAULT_MODEL in names


@pytest.mark.parametrize('name', shipped_models())
def test_it_loads(name):
    config, weights = find_shipped(name)
    # As tensors and strings, which any PyTorch reads without a pickle's code.
    content = torch.load(weights, weights_only=True)
    assert set(content) == {'state_dict', 'meta'}
    model = load_pose_model(load_config(str(config)), str(weights), 'cpu')
    assert model.dataset_meta['dataset_name'] == 'lsp'
    assert model.head.out_channels >= model.dataset_meta['num_keypoints']
    for key, value in model.state_dict().items():
        assert value.dtype in (torch.float32, torch.int64), key
        torch.testing.assert_close(
            value, content['state_dict'][key], check_dtype=False
        )
