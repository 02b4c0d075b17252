"""The config of ``tiny_config``, in pure Python: its types are classes."""

from pathlib import Path

CONFIG = """
from mmengine.config import read_base

with read_base():
    from .runtime import *

from mmengine.dataset import DefaultSampler
from mmengine.optim import MultiStepLR, OptimWrapper
from mmpose.codecs import MSRAHeatmap
from mmpose.datasets import (CocoDataset, GenerateTarget, GetBBoxCenterScale,
                             LoadImage, PackPoseInputs, RandomFlip,
                             TopdownAffine)
from mmpose.evaluation import CocoMetric
from mmpose.models import (HeatmapHead, KeypointMSELoss, PoseDataPreprocessor,
                           ResNet, TopdownPoseEstimator)
from torch.optim import Adam

from mmpose_ext.engine.hooks import RandomStateHook

train_cfg.update(max_epochs=1, val_interval=1)
codec = dict(
    type=MSRAHeatmap, input_size=(64, 96), heatmap_size=(16, 24), sigma=1)
model = dict(
    type=TopdownPoseEstimator,
    data_preprocessor=dict(type=PoseDataPreprocessor, mean=[128, 128, 128],
                           std=[64, 64, 64], bgr_to_rgb=True),
    backbone=dict(type=ResNet, depth=18, stem_channels=8, base_channels=8),
    head=dict(type=HeatmapHead, in_channels=64, out_channels=17,
              deconv_out_channels=(16, 16, 16),
              deconv_kernel_sizes=(4, 4, 4),
              loss=dict(type=KeypointMSELoss, use_target_weight=True),
              decoder=codec),
    test_cfg=dict(flip_test=True, flip_mode='heatmap'))
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=Adam, lr=1e-3))
param_scheduler = [dict(type=MultiStepLR, milestones=[1], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=8)
randomness = dict(seed=0)
load = [dict(type=LoadImage), dict(type=GetBBoxCenterScale)]
crop = dict(type=TopdownAffine, input_size=codec['input_size'])
data = dict(
    type=CocoDataset, data_root='{data_root}', data_mode='topdown')
train_dataloader = dict(
    batch_size=8, num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='train/'),
        pipeline=[*load, dict(type=RandomFlip, direction='horizontal'), crop,
                  dict(type=GenerateTarget, encoder=codec),
                  dict(type=PackPoseInputs)],
        **data))
val_dataloader = dict(
    batch_size=8, num_workers=0, drop_last=False,
    sampler=dict(type=DefaultSampler, shuffle=False, round_up=False),
    dataset=dict(
        ann_file='annotations/person_keypoints_val.json',
        data_prefix=dict(img='val/'), test_mode=True,
        pipeline=[*load, crop, dict(type=PackPoseInputs)], **data))
test_dataloader = val_dataloader
val_evaluator = dict(
    type=CocoMetric,
    ann_file='{data_root}/annotations/person_keypoints_val.json')
test_evaluator = val_evaluator
custom_hooks = [dict(type=RandomStateHook)]
"""
RUNTIME = """
from mmengine.hooks import (CheckpointHook, DistSamplerSeedHook,
                            IterTimerHook, LoggerHook, ParamSchedulerHook)
from mmengine.runner import LogProcessor
from mmengine.visualization import LocalVisBackend
from mmpose.engine.hooks import BadCaseAnalysisHook, PoseVisualizationHook
from mmpose.visualization import PoseLocalVisualizer

default_scope = {scope}
default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, interval=1),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=CheckpointHook, interval=1),
    sampler_seed=dict(type=DistSamplerSeedHook),
    visualization=dict(type=PoseVisualizationHook, enable=False),
    badcase=dict(type=BadCaseAnalysisHook, enable=False, out_dir='badcase',
                 metric_type='loss', badcase_thr=5))
visualizer = dict(type=PoseLocalVisualizer,
                  vis_backends=[dict(type=LocalVisBackend)], name='visualizer')
log_processor = dict(type=LogProcessor, by_epoch=True)
env_cfg = dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
load_from = None
resume = False
train_cfg = dict(by_epoch=True)
val_cfg = dict()
test_cfg = dict()
"""


def write_pure_python(folder: Path, data_root: Path, scope: str) -> Path:
    """Write the config, with a scope of names or None, and what it inherits.

    MMPose's own runtime in this form is in none of its wheels.
    """
    folder.mkdir()
    runtime = RUNTIME.replace('{scope}', repr(scope))
    (folder / 'runtime.py').write_text(runtime)
    path = folder / 'pure.py'
    path.write_text(CONFIG.replace('{data_root}', str(data_root)))
    return path
