"""What every multi-task config must hold."""

import functools
import re
from pathlib import Path

import pytest
import torch
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack
from mmdet.models.layers import ResLayer
from mmdet.registry import DATASETS, METRICS, MODELS, VISUALIZERS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmpose_ext.multitask import SampledDeformConv2dPack

FOLDER = Path(__file__).parents[2] / 'configs/multitask_rcnn'
CONFIGS = sorted(FOLDER.glob('*.py'))
# Specification of the project, in millions, measured on a prototype.
PARAMS = {
    'multitask-rcnn-rbh_r50-dcn_fpn-c3c5_4xb3-90k_coco': 62.63,
    'multitask-rcnn-rbh_r50-dcnv2_fpn-c3c5_4xb3-90k_coco': 63.24,
    'multitask-rcnn-rbh_r50-dcn_fpn-c5_4xb3-90k_coco': 61.07,
    'keypoint-rcnn-rbh_r50-dcn_fpn-c3c5_4xb3-90k_coco': 60.01,
    'multitask-rcnn-d2_r50_fpn_4xb3-90k_coco': 61.81,
    'multitask-rcnn-d2-rbh_r50-dcn_fpn_4xb3-90k_coco': 63.29,
}

all_configs = pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)


@functools.cache
def build(path):
    """The config and its network, once for all tests."""
    cfg = Config.fromfile(path)
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        return cfg, MODELS.build(cfg.model)


@all_configs
def test_parameters(path):
    _, model = build(path)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    if path.stem in PARAMS:
        assert f'{count:.2f}' == f'{PARAMS[path.stem]:.2f}'
    readme = (FOLDER / 'README.md').read_text()
    (row,) = re.findall(rf'^.*\({re.escape(path.name)}\).*$', readme, re.M)
    assert f' {count:.3f} ' in row


def test_all_counts_are_of_configs():
    assert PARAMS.keys() <= {path.stem for path in CONFIGS}


@all_configs
def test_deformable_convolutions_sit_where_the_name_says(path):
    """In the 3x3 of every block of conv3 to conv5, and in the head."""
    _, model = build(path)
    deformable = nn.Conv2d
    if 'dcnv2' in path.stem:
        deformable = ModulatedDeformConv2dPack
    elif 'dcn' in path.stem:
        toy = 'toy' in path.stem
        deformable = SampledDeformConv2dPack if toy else DeformConv2dPack
    backbone = model.backbone
    expected = {1: nn.Conv2d, 2: deformable, 3: deformable, 4: deformable}
    for stage, type_ in expected.items():
        layer = getattr(backbone, f'layer{stage}')
        assert isinstance(layer, ResLayer)
        assert [type(b.conv2) for b in layer] == [type_] * len(layer)
    head = model.roi_head.keypoint_head
    in_head = deformable if '-rbh' in path.stem else nn.Conv2d
    assert {type(conv) for conv in head.convs} == {in_head}
    assert (head.offset_deconv is not None) == ('-rbh' in path.stem)
    # And nowhere else.
    found = sum('conv_offset' in name for name, _ in model.named_modules())
    blocks = sum(len(getattr(backbone, f'layer{i}')) for i in (2, 3, 4))
    assert found == (deformable is not nn.Conv2d) * blocks + (
        in_head is not nn.Conv2d
    ) * len(head.convs)


@all_configs
def test_tasks_are_those_of_the_name(path):
    cfg, model = build(path)
    masks = path.stem.startswith('multitask')
    assert model.roi_head.with_mask == masks
    pipeline = cfg.train_dataloader.dataset.pipeline
    names = [step.type for step in pipeline]
    assert names[-3:] == [
        'WarpKeypoints',
        'FilterMultiTask',
        'PackMultiTaskInputs',
    ]
    load = pipeline[names.index('LoadMultiTaskAnnotations')]
    assert load.with_bbox and load.get('with_mask', False) == masks
    boxes, keypoints = cfg.val_evaluator
    assert ('segm' in boxes.metric) == masks
    assert keypoints.type == 'CocoKeypointMetric'
    for split in ('val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.test_mode
        for metric in cfg[f'{split}_evaluator']:
            assert metric.ann_file == dataset.data_root + dataset.ann_file
    for metric in cfg.val_evaluator:
        assert METRICS.get(metric.type) is not None
    assert DATASETS.get(cfg.train_dataloader.dataset.type) is not None
    assert VISUALIZERS.get(cfg.visualizer.type) is not None


@all_configs
def test_levels_fit_together(path):
    """Strides of maps, anchors and RoI extractors."""
    cfg, model = build(path)
    first = cfg.model.backbone.out_indices[0]
    number = len(cfg.model.backbone.out_indices)
    strides = [4 << (first + i) for i in range(number)]
    for name in ('bbox', 'mask', 'keypoint'):
        extractor = cfg.model.roi_head.get(f'{name}_roi_extractor')
        if extractor is not None:
            assert extractor.featmap_strides == strides
    anchors = model.rpn_head.prior_generator
    outs = cfg.model.neck.num_outs
    assert [s for s, _ in anchors.strides] == [
        strides[0] << i for i in range(outs)
    ]
    sizes = {scale * s for s, _ in anchors.strides for scale in anchors.scales}
    least = [32 << i for i in range(5 if 'toy' not in path.stem else 4)]
    assert sorted(float(s) for s in sizes) == least


@pytest.mark.parametrize(
    'path', [p for p in CONFIGS if 'toy' not in p.stem], ids=lambda p: p.stem
)
def test_schedule_is_the_papers(path):
    """Section 4.1."""
    cfg, model = build(path)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.momentum) == (
        'SGD',
        0.03,
        0.9,
    )
    assert cfg.train_cfg.max_iters == 90000
    assert cfg.param_scheduler[1].milestones == [60000, 80000]
    gpus, images = re.search(r'_(\d)xb(\d+)-90k', path.stem).groups()
    assert cfg.train_dataloader.batch_size == int(images) == 3
    assert cfg.auto_scale_lr.base_batch_size == int(gpus) * int(images)
    # "We only train the part which uses deformable convolution."
    trained = {
        name.split('.')[0]
        for name, p in model.backbone.named_parameters()
        if p.requires_grad
    }
    assert trained == {'layer2', 'layer3', 'layer4'}
    build_optim_wrapper(model, cfg.optim_wrapper)
