"""Runs that the tests of several tools share."""

import mmengine.config.config
import pytest
from run_tools import error_of, train  # noqa: F401
from small_models import build_model

from mmpose_ext.engine.config import load_config
from mmpose_ext.inference import shipped

DETECTOR = """
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py',
          'mmdet::_base_/default_runtime.py']
model = dict(
    backbone=dict(_delete_=True, type='ResNet', depth=18, stem_channels=8,
                  base_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=8),
    rpn_head=dict(in_channels=8, feat_channels=8),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=8),
        mask_roi_extractor=dict(out_channels=8),
        bbox_head=dict(in_channels=8, fc_out_channels=8, num_classes=1),
        mask_head=dict(in_channels=8, conv_out_channels=8, num_classes=1)),
    train_cfg=dict(rpn_proposal=dict(max_per_img=20),
                   rcnn=dict(sampler=dict(num=16))),
    test_cfg=dict(rpn=dict(max_per_img=20),
                  rcnn=dict(score_thr=0.0, max_per_img=4)))
load = dict(type='LoadImageFromFile')
boxes = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
resize = dict(type='Resize', scale=(96, 72), keep_ratio=True)
data = dict(
    type='CocoDataset', data_root='{data_root}',
    metainfo=dict(classes=('person',)))
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=False),
    dataset=dict(
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='train/'),
        pipeline=[load, boxes, resize, dict(type='PackDetInputs')], **data))
val_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='annotations/person_keypoints_val.json',
        data_prefix=dict(img='val/'), test_mode=True,
        pipeline=[load, resize, dict(
            type='PackDetInputs', meta_keys=(
                'img_id', 'img_path', 'ori_shape', 'img_shape',
                'scale_factor'))], **data))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric', metric=['bbox', 'segm'],
    ann_file='{data_root}/annotations/person_keypoints_val.json')
test_evaluator = val_evaluator
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
val_cfg, test_cfg = dict(type='ValLoop'), dict(type='TestLoop')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e-3))
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=1))
randomness = dict(seed=0)
"""


@pytest.fixture(scope='session', autouse=True)
def configs_without_format():
    """Formatting the dumped configs takes longer than a tiny run does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            mmengine.config.config,
            'FormatCode',
            lambda text, **_: (text, True),
        )
        yield


@pytest.fixture(scope='session')
def trained(tiny_config, tmp_path_factory):
    """The folder of a run of two epochs, not to be changed."""
    work_dir = tmp_path_factory.mktemp('run')
    train(tiny_config, '--work-dir', work_dir)
    return work_dir


@pytest.fixture(scope='session')
def detector_config(toy_persons, tmp_path_factory):
    """A small Mask R-CNN of MMDetection."""
    path = tmp_path_factory.mktemp('detector') / 'detector.py'
    path.write_text(DETECTOR.replace('{data_root}', str(toy_persons)))
    return path


@pytest.fixture(scope='session')
def detector(detector_config):
    """The config after a run, whose checkpoints are beside it."""
    train(detector_config, '--work-dir', detector_config.parent)
    return detector_config


@pytest.fixture(scope='session')
def lspet_weights(tmp_path_factory):
    """Weights without training of the model that the demos use."""
    name = shipped.DEFAULT_MODEL
    path = tmp_path_factory.mktemp('weights') / f'{name}.pth'
    build_model(load_config(name), path)
    return path


@pytest.fixture
def stand_in(lspet_weights, monkeypatch):
    """Let these be in the package, whatever is there."""
    monkeypatch.setattr(shipped, 'WEIGHTS', lspet_weights.parent)
