import errno
import inspect
import json
import os
from pathlib import Path

import mmengine.registry as root
import mmpose
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from torch import nn

from mmpose_ext import checks
from mmpose_ext.errors import InputError

# ---------------------------------------------------------------- type names

KEYS = ('model', 'train_dataloader', 'custom_hooks', 'test_evaluator')
USED_BY_RUNNER = inspect.signature(Runner).parameters


def type_config(**changes):
    cfg = Config(
        dict(
            default_scope='mmpose',
            model=dict(
                type='TopdownPoseEstimator',
                backbone=dict(type='HRNet', norm_cfg=dict(type='BN')),
                head=dict(
                    type='HeatmapHead',
                    loss=dict(type='KeypointMSELoss'),
                    decoder=dict(type='MSRAHeatmap'),
                    init_cfg=dict(type='Normal', layer='Conv2d'),
                ),
            ),
            train_dataloader=dict(
                sampler=dict(type='DefaultSampler'),
                dataset=dict(
                    type='RepeatDataset',
                    dataset=dict(
                        type='CocoDataset',
                        pipeline=[dict(type='LoadImage'), dict(type='Cutout')],
                    ),
                ),
            ),
            custom_hooks=[dict(type='SyncBuffersHook')],
            test_evaluator=[dict(type='CocoMetric')],
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


def test_types_that_exist_pass():
    checks.check_type_names(type_config(), KEYS)


def test_types_of_mmposes_own_configs_pass():
    configs = Path(mmpose.__file__).parent / '.mim' / 'configs'
    paths = sorted(configs.glob('body_2d_keypoint/*/*/*.py'))[::9]
    assert len(paths) > 20
    for path in paths:
        cfg = Config.fromfile(path)
        checks.check_type_names(cfg, [k for k in cfg if k in USED_BY_RUNNER])


@pytest.mark.parametrize(
    ('where', 'name', 'hint'),
    [
        ('model.type', 'TopDownPoseEstimator', "'TopdownPoseEstimator'"),
        ('model.backbone.type', 'hrnet', "'HRNet'"),
        ('model.head.loss.type', 'KeypointMSELos', "'KeypointMSELoss'"),
        ('model.head.decoder.type', 'MRSAHeatmap', "'MSRAHeatmap'"),
        ('model.head.init_cfg.type', 'Norml', "'Normal'"),
        ('train_dataloader.sampler.type', 'DefaultSample', 'DefaultSampler'),
        ('train_dataloader.dataset.dataset.type', 'CocoDatset', 'CocoDataset'),
        (
            'train_dataloader.dataset.dataset.pipeline[1].type',
            'CutOut',
            "'Cutout'",
        ),
        ('custom_hooks[0].type', 'SyncBufersHook', "'SyncBuffersHook'"),
        ('test_evaluator[0].type', 'CocoMetrics', "'CocoMetric'"),
        ('model.backbone.type', 'mmdet.ResNest', "'ResNeSt'"),
        ('model.backbone.type', 'nosuchpackage.Net', ''),
        ('model.backbone.type', 'a..b', ''),
    ],
)
def test_wrong_type_is_named_with_its_place(where, name, hint):
    key = where.replace('[', '.').replace(']', '')
    with pytest.raises(InputError) as e:
        checks.check_type_names(type_config(**{key: name}), KEYS)
    assert f"'{name}' at {where}" in str(e.value)
    assert hint in str(e.value)


@pytest.mark.parametrize(
    'name',
    [
        HeatmapHead,
        'mmpose.models.heads.HeatmapHead',
        'mmdet.Shared2FCBBoxHead',
        'mmpretrain.VisionTransformer',  # not installed: not looked at
    ],
)
def test_classes_paths_and_other_packages_pass(name):
    checks.check_type_names(type_config(**{'model.head.type': name}), KEYS)


def test_scope_of_a_part_of_the_config():
    part = dict(_delete_=True, _scope_='mmdet', type='FCOSHead')
    cfg = type_config(**{'model.neck': part})
    checks.check_type_names(cfg, KEYS)
    cfg.model.neck.type = 'HeatmapHead'  # which MMDet does not have
    with pytest.raises(InputError, match='registry of mmdet has no such'):
        checks.check_type_names(cfg, KEYS)


@pytest.mark.parametrize(
    ('key', 'name', 'hint'),
    [
        ('model.train_cfg.sampler', 'RandomSample', "'RandomSampler'"),
        ('model.train_cfg.assigner', 'MaxIoUAssign', "'MaxIoUAssigner'"),
        ('model.bbox_coder', 'DeltaXYWHBoxCoder', "'DeltaXYWHBBoxCoder'"),
        ('model.roi_extractor', 'SingleRoIExtract', "'SingleRoIExtractor'"),
        ('model.roi_head', 'StandardRoIHed', "'StandardRoIHead'"),
        ('train_dataloader.sampler', 'InfinteSampler', "'InfiniteSampler'"),
    ],
)
def test_types_of_detectors_are_looked_up_where_they_belong(key, name, hint):
    cfg = Config(dict(default_scope='mmdet', model=dict(type='MaskRCNN')))
    cfg.merge_from_dict({f'{key}.type': name})
    with pytest.raises(InputError) as e:
        checks.check_type_names(cfg, ('model', 'train_dataloader'))
    assert f"'{name}' at {key}.type: the" in str(e.value)
    assert f'did you mean {hint}' in str(e.value)


def test_type_that_fails_to_be_built_is_explained():
    cfg = type_config(**{'model.plugin': dict(type='ContextBlok')})
    checks.check_type_names(cfg, KEYS)  # not a place with a known registry
    with pytest.raises(InputError) as e, checks.explain_errors(cfg):
        MODELS.build(cfg.model.plugin)
    assert "unknown type 'ContextBlok' at model.plugin.type" in str(e.value)
    assert "'ContextBlock'" in str(e.value)

    missing = dict(type='mmpretrain.VisionTransformer')
    with pytest.raises(InputError) as e, checks.explain_errors(cfg):
        MODELS.build(missing)
    assert 'needs mmpretrain, which is not installed' in str(e.value)
    with pytest.raises(KeyError), checks.explain_errors(cfg):
        raise KeyError('something else')


def test_broken_import_is_not_taken_for_a_wrong_name(monkeypatch):
    def fail(self):
        raise RuntimeError('operator does not exist')

    monkeypatch.setattr(root.Registry, 'import_from_location', fail)
    with pytest.raises(RuntimeError, match='operator does not exist'):
        checks.check_type_names(type_config(), KEYS)


# ---------------------------------------------------------------- output


def test_output_file(tmp_path):
    path = tmp_path / 'out.json'
    checks.check_output_file(str(path))
    path.touch()
    with pytest.raises(InputError, match='exists already'):
        checks.check_output_file(str(path))
    checks.check_output_file(str(path), overwrite=True)
    with pytest.raises(InputError, match='is a folder'):
        checks.check_output_file(str(tmp_path), overwrite=True)


def test_output_folders_are_made_and_tried(tmp_path, monkeypatch):
    folder = tmp_path / 'a' / 'b'
    checks.check_output_folder(str(folder))
    assert folder.is_dir() and not list(folder.iterdir())

    def refuse(*args, **kwargs):
        raise OSError(errno.ENOENT, 'No such file or directory', args[0])

    monkeypatch.setattr(os, 'makedirs', refuse)  # as in /proc
    with pytest.raises(InputError, match=r"'x/y' cannot be made .*: No such"):
        checks.check_output_folder('x/y')
    monkeypatch.undo()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(checks.tempfile, 'TemporaryFile', full)
    with pytest.raises(InputError, match=rf"'{folder}' .*: No space left"):
        checks.check_output_folder(str(folder))


# ---------------------------------------------------------------- checkpoint


def network(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width))


def test_weights_that_fit_are_loaded(tmp_path):
    model, path = network(), tmp_path / 'a.pth'
    weights = {f'module.{k}': v for k, v in network().state_dict().items()}
    torch.save(dict(state_dict=weights, meta=dict(epoch=3)), path)
    loaded = checks.load_checkpoint_strictly(model, str(path))
    assert loaded['meta'] == dict(epoch=3)
    torch.testing.assert_close(model[0].weight, weights['module.0.weight'])
    # a bare state dict
    torch.save(network().state_dict(), path)
    checks.load_checkpoint_strictly(model, str(path))


def test_weights_of_another_architecture_are_listed(tmp_path):
    weights = network(8).state_dict()
    del weights['0.bias'], weights['1.running_mean']
    weights.update({f'neck.{i}.weight': torch.zeros(1) for i in range(7)})
    torch.save(weights, tmp_path / 'b.pth')
    with pytest.raises(InputError) as e:
        checks.load_checkpoint_strictly(network(), str(tmp_path / 'b.pth'))
    lines = str(e.value).splitlines()
    assert lines[0].endswith("b.pth' is of another architecture than the "
                             "config's Sequential:")  # fmt: skip
    assert lines[1:] == [
        '  2 missing from the checkpoint: 0.bias, 1.running_mean',
        '  7 unknown to the model: neck.0.weight, neck.1.weight, '
        'neck.2.weight, neck.3.weight, neck.4.weight, ...',
        '  4 of another shape: 0.weight [8, 3, 1, 1] for [4, 3, 1, 1], '
        '1.weight [8] for [4], 1.bias [8] for [4], 1.running_var [8] for [4]',
    ]


def test_file_that_is_no_checkpoint(tmp_path):
    path = tmp_path / 'a.pth'
    with pytest.raises(InputError, match=r"checkpoint '.*a\.pth' does not"):
        checks.load_checkpoint_strictly(network(), str(path))
    torch.save([1, 2], path)
    with pytest.raises(InputError, match='expected weights by name, got list'):
        checks.load_checkpoint_strictly(network(), str(path))
    torch.save(dict(model=dict(network().state_dict())), path)
    with pytest.raises(InputError, match='unknown to the model: model'):
        checks.load_checkpoint_strictly(network(), str(path))
    checks.check_checkpoint_file('https://host/a.pth')


def test_last_whole_checkpoint(tmp_path):
    find = checks.find_whole_checkpoint
    assert find(str(tmp_path / 'none')) is None
    assert find(str(tmp_path)) is None

    paths = [tmp_path / f'epoch_{i}.pth' for i in (1, 2, 10)]
    for path in paths:
        torch.save(network().state_dict(), path)
    torch.save({}, tmp_path / 'best_coco_AP_epoch_11.pth')
    last = tmp_path / 'last_checkpoint'
    last.write_text(str(paths[1]))
    assert find(str(tmp_path)) == str(paths[1])
    # killed while the file was written again, or before it was
    last.write_text(str(paths[2]))
    paths[2].write_bytes(paths[2].read_bytes()[:1000])
    assert find(str(tmp_path)) == str(paths[1])
    # killed between the removal of the old file and the writing of the new
    paths[1].unlink()
    assert find(str(tmp_path)) == str(paths[0])
    last.write_text('')
    assert find(str(tmp_path)) == str(paths[0])
    last.write_text('s3://bucket/epoch_3.pth')
    assert find(str(tmp_path)) == 's3://bucket/epoch_3.pth'


# -------------------------------------------------------------------- images


class Images(torch.utils.data.Dataset):
    """One image, read as a package's pipelines read it."""

    def __init__(self, scope, path):
        type_ = dict(mmpose='LoadImage', mmdet='LoadImageFromFile')[scope]
        with root.TRANSFORMS.switch_scope_and_registry(scope) as registry:
            self.load = registry.build(dict(type=type_))
        self.path = str(path)

    def __len__(self):
        return 1

    def __getitem__(self, _):
        return self.load(dict(img_path=self.path))


# MMDet's error for an empty file names no file.
@pytest.mark.parametrize(
    ('scope', 'content', 'num_workers', 'message'),
    [
        ('mmpose', None, 0, "image '{}' does not exist"),
        ('mmpose', b'', 0, "image '{}' cannot be decoded (0 bytes)"),
        ('mmpose', b'no image', 1, "image '{}' cannot be decoded (8 bytes)"),
        ('mmdet', b'no image', 1, "image '{}' cannot be decoded (8 bytes)"),
        ('mmdet', None, 0, "image '{}' does not exist"),
        ('mmdet', b'no image', 0, "image '{}' cannot be decoded (8 bytes)"),
    ],
)
def test_unreadable_image_is_named(
    scope, content, num_workers, message, tmp_path
):
    path = tmp_path / '1.jpg'
    if content is not None:
        path.write_bytes(content)
    loader = torch.utils.data.DataLoader(
        Images(scope, path), num_workers=num_workers
    )
    with pytest.raises(InputError) as e, checks.explain_errors(Config()):
        list(loader)
    assert str(e.value) == message.format(path)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('1.JPG', 'does not exist'),
        ('1', 'does not exist'),
        ('.', 'is a folder'),
    ],
)
@pytest.mark.parametrize('num_workers', [0, 1])
def test_absent_images_of_any_name(name, message, num_workers, tmp_path):
    path = f'{tmp_path}/{name}'
    loader = torch.utils.data.DataLoader(
        Images('mmdet', path), num_workers=num_workers
    )
    with pytest.raises(InputError) as e, checks.explain_errors(Config()):
        list(loader)
    assert str(e.value) == f"image '{path}' {message}"


@pytest.mark.parametrize(
    'error',
    [
        ValueError('shapes differ'),
        FileNotFoundError(2, 'No such file or directory', 'boxes.json'),
    ],
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)), checks.explain_unreadable_images():
        raise error


# ------------------------------------------------------------- empty results


def test_nothing_detected_is_evaluated_like_far_away_predictions(toy_persons):
    """By COCO's evaluation, a person missed counts as one found nowhere."""
    from mmpose.datasets import CocoDataset
    from mmpose.evaluation import CocoMetric

    from mmpose_ext.evaluation import EmptySafeCocoMetric

    ann_file = toy_persons / 'annotations/person_keypoints_val.json'
    image_id = json.loads(ann_file.read_text())['images'][0]['id']
    far = dict(
        id=0,
        img_id=image_id,
        category_id=1,
        keypoints=np.random.default_rng(0).uniform(1e5, 2e5, (1, 17, 2)),
        keypoint_scores=np.ones((1, 17)),
        bbox_scores=np.ones(1),
        areas=np.array([900.0]),
    )

    def evaluate(metric, results):
        metric.dataset_meta = CocoDataset(lazy_init=True).metainfo
        metric.results = results
        return metric.evaluate(len(results))

    args = dict(ann_file=str(ann_file))
    nothing = evaluate(EmptySafeCocoMetric(**args), [])
    assert nothing['coco/AP'] == 0.0 and nothing['coco/AR'] == 0.0
    assert nothing == evaluate(CocoMetric(**args), [(far, {})])
    assert nothing == evaluate(EmptySafeCocoMetric(**args), [(far, {})])
    with pytest.raises(ValueError):  # why the subclass is there
        evaluate(CocoMetric(**args), [])


def test_official_checkpoints_keep_their_conversions():
    """MMPose converts ``keypoint_head`` of 0.x while it loads."""
    model = Runner.build_model(
        None,
        MODELS.build(
            dict(
                type='TopdownPoseEstimator',
                backbone=dict(type='ResNet', depth=18, base_channels=4,
                              stem_channels=4),
                head=dict(type='HeatmapHead', in_channels=32, out_channels=17,
                          deconv_out_channels=None),
            )
        ),
    )  # fmt: skip
    old = {
        key.replace('head.', 'keypoint_head.'): value
        for key, value in model.state_dict().items()
    }
    assert any(key.startswith('keypoint_head') for key in old)
    checks.check_state_dict(model, old, 'old.pth')
