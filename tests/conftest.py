"""A toy dataset and a config that trains on it within seconds."""

import gc
import runpy
import sys
from pathlib import Path
from typing import Tuple

import pytest
import torch
from hypothesis import settings
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

import mmpose_ext  # noqa: F401  (repairs what MMPose's import needs)
from mmpose_ext.synthetic import make_dataset

TINY_CONFIG = """
_base_ = '{base}'
custom_imports = dict(imports=['mmpose_ext'], allow_failed_imports=False)
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=2)
codec = dict(
    type='MSRAHeatmap', input_size=(64, 96), heatmap_size=(16, 24), sigma=1)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(type='PoseDataPreprocessor', mean=[128, 128, 128],
                           std=[64, 64, 64], bgr_to_rgb=True),
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    head=dict(type='HeatmapHead', in_channels=64, out_channels=17,
              deconv_out_channels=(16, 16, 16),
              deconv_kernel_sizes=(4, 4, 4),
              loss=dict(type='KeypointMSELoss', use_target_weight=True),
              decoder=codec),
    test_cfg=dict(flip_test=False))
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [dict(type='MultiStepLR', milestones=[1], gamma=0.1)]
randomness = dict(seed=0)
load = [dict(type='LoadImage'), dict(type='GetBBoxCenterScale')]
crop = dict(type='TopdownAffine', input_size=codec['input_size'])
data = dict(
    type='CocoDataset', data_root='{data_root}', data_mode='topdown')
train_dataloader = dict(
    batch_size=8, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='train/'),
        pipeline=[*load, dict(type='RandomFlip', direction='horizontal'),
                  dict(type='RandomBBoxTransform'), crop,
                  dict(type='GenerateTarget', encoder=codec),
                  dict(type='PackPoseInputs')],
        **data))
val_dataloader = dict(
    batch_size=8, num_workers=0, drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        ann_file='annotations/person_keypoints_val.json',
        data_prefix=dict(img='val/'), test_mode=True,
        pipeline=[*load, crop, dict(type='PackPoseInputs')], **data))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric',
    ann_file='{data_root}/annotations/person_keypoints_val.json')
test_evaluator = val_evaluator
default_hooks = dict(
    checkpoint=dict(interval=1), logger=dict(interval=1))
custom_hooks = [dict(type='RandomStateHook')]
"""


# A machine whose cores are all in use is slow, not wrong.
settings.register_profile('tests', deadline=None)
settings.load_profile('tests')


def pytest_collection_finish():
    """Leave out of collections of garbage what the imports have made.

    MMEngine's datasets collect it whenever they are built, which takes some
    0.2 s with all packages in memory.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session')
def pose_model(tiny_config, tmp_path_factory):
    """Config and random weights of a pose model."""
    from mmpose.models import build_pose_estimator

    checkpoint = tmp_path_factory.mktemp('pose') / 'random.pth'
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = build_pose_estimator(Config.fromfile(tiny_config).model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    return str(tiny_config), str(checkpoint)


@pytest.fixture(scope='session')
def bottomup_model(tmp_path_factory):
    """Config and weights of a DEKR that finds five persons anywhere."""
    from mmpose.models import build_pose_estimator

    config = Path(__file__).with_name('tiny_bottomup.py')
    checkpoint = tmp_path_factory.mktemp('bottomup') / 'random.pth'
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = build_pose_estimator(Config.fromfile(config).model)
    model.head.heatmap_conv_layers[-1].bias.data.fill_(0.5)
    model.head.displacement_conv_layers[-1].weight.data.normal_(0, 12)
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    return str(config), str(checkpoint)


@pytest.fixture(autouse=True)
def no_older_visualizer():
    """MMEngine's hooks draw with the visualizer whose name came last.

    One that a test before has named would be taken for that of a test whose
    config has the usual name.
    """
    Visualizer._instance_dict.clear()


@pytest.fixture(autouse=True)
def mmpose_scope():
    """Types are looked up as in MMPose, whatever a test before has left."""
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Run a script in this process: exit status, stdout, stderr."""

    def run(script, *args):
        path = str(Path(__file__).parents[1] / script)
        monkeypatch.setattr(sys, 'argv', [path, *map(str, args)])
        try:
            runpy.run_path(path, run_name='__main__')
            status = 0
        except SystemExit as e:
            status = e.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope='session')
def toy_persons(tmp_path_factory) -> Path:
    """The folder of a toy dataset with 12 + 6 images, not to be changed."""
    folder = tmp_path_factory.mktemp('data') / 'toy_persons'
    make_dataset(folder, num_train=12, num_val=6, seed=0)
    return folder


@pytest.fixture(scope='session')
def tiny_config(toy_persons, tmp_path_factory) -> Path:
    """A config of a ResNet with 8 channels on the toy dataset."""
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    path.write_text(
        TINY_CONFIG.format(
            base='mmpose::_base_/default_runtime.py', data_root=toy_persons
        )
    )
    return path


@pytest.fixture(scope='session')
def exported(tiny_config, tmp_path_factory):
    """A pose model with a flip test: config, checkpoint, model, and files.

    The files are under ``'onnx'`` and ``'openvino'``; nothing of it is to be
    changed.
    """
    for package in ('onnxscript', 'onnxruntime', 'openvino', 'nncf'):
        pytest.importorskip(package)
    from small_models import build_model

    from mmpose_ext.deploy.export import export_model, record
    from mmpose_ext.deploy.samples import draw_samples
    from mmpose_ext.engine.config import load_config

    folder = tmp_path_factory.mktemp('exported')
    config, checkpoint = folder / 'tiny.py', folder / 'tiny.pth'
    config.write_text(
        f"_base_ = '{tiny_config}'\n"
        'model = dict(test_cfg=dict(flip_test=True))\n'
    )
    files = dict(onnx=folder / 'tiny.onnx', openvino=folder / 'tiny.xml')
    model = build_model(load_config(str(config)), checkpoint)
    with DefaultScope.overwrite_default_scope('mmpose'):
        recording = record(model, draw_samples(3, with_boxes=True))
        for file in files.values():
            export_model(model, file, recording)
    return dict(config=config, checkpoint=checkpoint, model=model, **files)


@pytest.fixture(scope='session')
def visibility_config(tiny_config) -> Path:
    """The config with its head inside MMPose's ``VisPredictHead``."""
    path = tiny_config.with_name('visibility.py')
    path.write_text(
        f"_base_ = '{tiny_config}'\n"
        'head = {{_base_.model.head}}\n'
        "model = dict(head=dict(_delete_=True, type='VisPredictHead', "
        'pose_cfg=head))\n'
    )
    return path


TINY_DETECTOR = """
default_scope = 'mmdet'
norm = dict(type='BN')
model = dict(
    type='RTMDet',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[128] * 3, std=[64] * 3,
        pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8,
                  out_indices=(2, 3)),
    neck=dict(type='FPN', in_channels=[32, 64], out_channels=16, num_outs=2),
    bbox_head=dict(
        type='RTMDetSepBNHead', num_classes=3, in_channels=16,
        stacked_convs=1, feat_channels=16, exp_on_reg=True, norm_cfg=norm,
        with_objectness=False,
        anchor_generator=dict(
            type='MlvlPointGenerator', offset=0, strides=[16, 32]),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='GIoULoss')),
    test_cfg=dict(
        nms_pre=300, min_bbox_size=0, score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.6), max_per_img=100))
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        type='CocoDataset', data_root='{data_root}',
        ann_file='annotations/person_keypoints_val.json',
        data_prefix=dict(img='val/'),
        metainfo=dict(classes=('dog', 'Person', 'cat')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(128, 96), keep_ratio=True),
            dict(type='PackDetInputs', meta_keys=(
                'img_id', 'img_path', 'ori_shape', 'img_shape',
                'scale_factor'))]))
"""


@pytest.fixture(scope='session')
def tiny_detector(toy_persons, tmp_path_factory) -> Tuple[Path, Path]:
    """Config and random weights of a detector of dogs, persons and cats."""
    folder = tmp_path_factory.mktemp('detector')
    config, checkpoint = folder / 'tiny_detector.py', folder / 'random.pth'
    config.write_text(TINY_DETECTOR.replace('{data_root}', str(toy_persons)))
    with DefaultScope.overwrite_default_scope('mmdet'):
        from mmdet.registry import MODELS

        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(config).model)
    for conv in model.bbox_head.rtm_cls:  # a box of each class somewhere
        weight = torch.randn_like(conv.weight)
        conv.weight.data = 3 * (weight - weight.mean(1, keepdim=True))
    classes = ('dog', 'Person', 'cat')
    torch.save(
        dict(
            state_dict=model.state_dict(),
            meta=dict(dataset_meta=dict(classes=classes)),
        ),
        checkpoint,
    )
    return config, checkpoint
