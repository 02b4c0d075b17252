"""Type names that no registry knows are found before the work."""

import inspect
from pathlib import Path

import mmengine.registry as root
import mmpose
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS, TRANSFORMS

from mmpose_ext.checks import check_type_names, explain_unknown_types
from mmpose_ext.errors import InputError

KEYS = ('model', 'train_dataloader', 'custom_hooks', 'test_evaluator')
USED_BY_RUNNER = inspect.signature(Runner).parameters
DATASET = 'train_dataloader.dataset.dataset'


def make_config(**changes):
    head = dict(
        type='HeatmapHead',
        loss=dict(type='KeypointMSELoss'),
        decoder=dict(type='MSRAHeatmap'),
        init_cfg=dict(type='Normal', layer='Conv2d'),
    )
    data = dict(
        type='CocoDataset',
        pipeline=[dict(type='LoadImage'), dict(type='Cutout')],
    )
    cfg = Config(
        dict(
            default_scope='mmpose',
            model=dict(
                type='TopdownPoseEstimator',
                backbone=dict(type='HRNet', norm_cfg=dict(type='BN')),
                head=head,
            ),
            train_dataloader=dict(
                sampler=dict(type='DefaultSampler'),
                dataset=dict(type='RepeatDataset', dataset=data),
            ),
            custom_hooks=[dict(type='SyncBuffersHook')],
            test_evaluator=[dict(type='CocoMetric')],
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


def error(cfg, keys=KEYS):
    with pytest.raises(InputError) as e:
        check_type_names(cfg, keys)
    return str(e.value)


def test_types_of_mmposes_own_configs_pass():
    configs = Path(mmpose.__file__).parent / '.mim' / 'configs'
    paths = sorted(configs.glob('body_2d_keypoint/*/*/*.py'))[::20]
    assert len(paths) > 8
    for cfg in [make_config(), *map(Config.fromfile, paths)]:
        check_type_names(cfg, [k for k in cfg if k in USED_BY_RUNNER])


@pytest.mark.parametrize(
    ('where', 'name', 'hint'),
    [
        ('model.type', 'TopDownPoseEstimator', "'TopdownPoseEstimator'"),
        ('model.backbone.type', 'hrnet', "'HRNet'"),
        ('model.head.loss.type', 'KeypointMSELos', "'KeypointMSELoss'"),
        ('model.head.decoder.type', 'MRSAHeatmap', "'MSRAHeatmap'"),
        ('model.head.init_cfg.type', 'Norml', "'Normal'"),
        ('train_dataloader.sampler.type', 'DefaultSample', "'DefaultSampler'"),
        (f'{DATASET}.type', 'CocoDatset', "'CocoDataset'"),
        (f'{DATASET}.pipeline[1].type', 'CutOut', "'Cutout'"),
        ('custom_hooks[0].type', 'SyncBufersHook', "'SyncBuffersHook'"),
        ('test_evaluator[0].type', 'CocoMetrics', "'CocoMetric'"),
        ('model.backbone.type', 'mmdet.ResNest', "'ResNeSt'"),
        ('model.backbone.type', 'nosuchpackage.Net', ''),
        ('model.backbone.type', 'a..b', ''),
        ('model.backbone.type', '.HRNet', "'HRNet'"),
        ('model.backbone.type', '', ''),
    ],
)
def test_wrong_type_is_named_with_its_place(where, name, hint):
    key = where.replace('[', '.').replace(']', '')
    message = error(make_config(**{key: name}))
    assert f"'{name}' at {where}: the" in message and hint in message


def test_types_of_detectors_are_looked_up_where_they_belong():
    for key, name, hint in (
        ('model.train_cfg.sampler', 'RandomSample', 'RandomSampler'),
        ('model.train_cfg.assigner', 'MaxIoUAssign', 'MaxIoUAssigner'),
        ('model.bbox_coder', 'DeltaXYWHBoxCoder', 'DeltaXYWHBBoxCoder'),
        ('model.roi_extractor', 'SingleRoIExtract', 'SingleRoIExtractor'),
        ('model.roi_head', 'StandardRoIHed', 'StandardRoIHead'),
        ('train_dataloader.sampler', 'InfinteSampler', 'InfiniteSampler'),
    ):
        cfg = Config(dict(default_scope='mmdet', model=dict(type='MaskRCNN')))
        cfg.merge_from_dict({f'{key}.type': name})
        message = error(cfg, ('model', 'train_dataloader'))
        assert f"'{name}' at {key}.type: the" in message
        assert f"did you mean '{hint}'" in message


def test_settings_of_a_model_are_no_loops():
    cfg = make_config(
        train_cfg=dict(type='EpochBasedTrainLop'),
        **{'model.test_cfg': dict(nms=dict(type='soft_nms'), type='whole')},
    )
    check_type_names(cfg, KEYS)
    message = error(cfg, ('train_cfg',))
    assert "'EpochBasedTrainLop' at train_cfg.type: the loop reg" in message
    assert "did you mean 'EpochBasedTrainLoop'" in message


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
    check_type_names(make_config(**{'model.head.type': name}), KEYS)


def test_scope_of_a_part_of_the_config():
    part = dict(_delete_=True, _scope_='mmdet', type='FCOSHead')
    cfg = make_config(**{'model.neck': part})
    check_type_names(cfg, KEYS)
    cfg.model.neck.type = 'HeatmapHead'  # which MMDet does not have
    assert 'registry of mmdet has no such' in error(cfg)


def test_type_that_fails_to_be_built_is_explained():
    cfg = make_config(**{'model.plugin': dict(type='ContextBlok')})
    check_type_names(cfg, KEYS)  # not a place with a known registry
    with pytest.raises(InputError) as e, explain_unknown_types(cfg):
        MODELS.build(cfg.model.plugin)
    assert "unknown type 'ContextBlok' at model.plugin.type" in str(e.value)
    assert "'ContextBlock'" in str(e.value)
    # Transforms and optimizers take names under other keys, too.
    pipeline = [
        dict(type='RandomChoiceResize', scales=[9], resize_type='Reszie')
    ]
    cfg = make_config(train_pipeline=pipeline, test_pipeline=pipeline)
    with pytest.raises(InputError) as e, explain_unknown_types(cfg):
        TRANSFORMS.build(cfg.train_pipeline[0])
    places = 'train_pipeline[0].resize_type, test_pipeline[0].resize_type'
    assert f"unknown type 'Reszie' at {places}: the tr" in str(e.value)
    assert "'Resize'" in str(e.value)

    message = 'needs mmpretrain, which is not installed'
    with (
        pytest.raises(InputError, match=message),
        explain_unknown_types(cfg),
    ):
        MODELS.build(dict(type='mmpretrain.VisionTransformer'))
    with pytest.raises(KeyError), explain_unknown_types(cfg):
        raise KeyError('something else')


def test_broken_import_is_not_taken_for_a_wrong_name(monkeypatch):
    def fail(self):
        raise RuntimeError('operator does not exist')

    monkeypatch.setattr(root.Registry, 'import_from_location', fail)
    with pytest.raises(RuntimeError, match='operator does not exist'):
        check_type_names(make_config(), KEYS)
