import sys

import pytest
import torch
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack
from torch import nn

from mmpose_ext.analysis import (
    Complexity,
    count_complexity,
    load_network,
)
from mmpose_ext.engine.config import load_config

IMAGES = 2


def count(module, *shape):
    return count_complexity(module, torch.rand(IMAGES, *shape))


def test_convolution():
    cost = count(nn.Conv2d(3, 4, 3, padding=1), 3, 8, 6)
    assert cost.params == 3 * 4 * 9 + 4
    assert cost.macs == IMAGES * 8 * 6 * 4 * 3 * 9


def test_grouped_and_strided_convolution():
    cost = count(nn.Conv2d(8, 16, 5, stride=2, padding=2, groups=4), 8, 8, 6)
    assert cost.macs == IMAGES * 4 * 3 * 16 * (8 // 4) * 25


def test_transposed_convolution():
    cost = count(nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1), 4, 8, 6)
    assert cost.params == 4 * 2 * 16 + 2
    assert cost.macs == IMAGES * 8 * 6 * 4 * 2 * 16  # an input cell meets all


def test_convolutions_and_linear_layers_alone_are_counted():
    network = nn.Sequential(
        nn.Conv2d(2, 3, 1, bias=False),
        nn.BatchNorm2d(3),
        nn.Upsample(scale_factor=2),
        nn.Flatten(),
        nn.Linear(3 * 16, 5),
    ).eval()
    network[1].weight.requires_grad_(False)
    assert count(network, 2, 2, 2) == Complexity(
        params=6 + 6 + (48 * 5 + 5),
        macs=IMAGES * 2 * 2 * 2 * 3,
        linear_macs=IMAGES * 48 * 5,
    )


@pytest.mark.parametrize('bias', [True, False])
def test_linear_layer_of_many_tokens(bias):
    cost = count(nn.Linear(5, 7, bias=bias), 3, 4, 5)
    assert cost.linear_macs == IMAGES * 3 * 4 * 5 * 7
    assert cost.macs == 0


@pytest.mark.parametrize(
    ('cls', 'offsets'),
    [(DeformConv2dPack, 18), (ModulatedDeformConv2dPack, 27)],
)
def test_deformable_convolution(cls, offsets):
    conv = cls(4, 6, 3, stride=2, padding=1, groups=2)
    # It is counted wherever it is, and no hook stays behind.
    network = nn.Sequential(nn.Sequential(conv))
    for _ in range(2):
        cost = count(network, 4, 8, 6)
        taps = 4 * 3 * 9  # cells of the output, and of the kernel
        assert cost.macs == IMAGES * taps * (6 * 4 // 2 + offsets * 4)
        assert cost.linear_macs == 0
    assert not conv._forward_hooks


def test_operators_are_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, 'mmcv.ops')
    assert count(nn.Conv2d(1, 1, 1), 1, 2, 2).macs == IMAGES * 4
    assert 'mmcv.ops' not in sys.modules


def test_two_stage_detector():
    """1000 boxes, 100 masks and 100 persons' keypoints."""
    cfg = load_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    heads = cfg.model.roi_head
    heads.bbox_roi_extractor.out_channels = 4
    heads.mask_roi_extractor.out_channels = 4
    heads.update(
        type='mmpose_ext.multitask.MultiTaskRoIHead',
        keypoint_roi_extractor=heads.mask_roi_extractor,
        keypoint_head=dict(
            type='mmpose_ext.multitask.OffsetKeypointHead',
            in_channels=4,
            conv_channels=8,
            num_convs=1,
            heatmap_refine=False,
        ),
    )
    cfg.merge_from_dict(
        {
            'model.backbone': dict(depth=18, base_channels=4, stem_channels=4),
            'model.neck': dict(in_channels=[4, 8, 16, 32], out_channels=4),
            'model.rpn_head': dict(in_channels=4, feat_channels=4),
            'model.roi_head.bbox_head': dict(
                in_channels=4, fc_out_channels=8, num_classes=1
            ),
            'model.roi_head.mask_head': dict(
                in_channels=4,
                conv_out_channels=8,
                num_convs=1,
                num_classes=1,
            ),
        }
    )

    def cost():
        network, images, kwargs = load_network(cfg, shape=(64, 96))
        return count_complexity(network, images, **kwargs)

    whole = cost()
    box = 7 * 7 * 4 * 8 + 8 * 8 + 8 * 2 + 8 * 4
    assert whole.linear_macs == 1000 * box

    heads = cfg.model.roi_head
    heads.keypoint_head = None
    without_keypoints = cost()
    keypoints = 14 * 14 * (4 * 8 * 9 + 8 * 17 * 16)
    assert whole.macs - without_keypoints.macs == 100 * keypoints

    heads.mask_head = None
    mask = 14 * 14 * (4 * 8 * 9 + 8 * 8 * 4) + 28 * 28 * 8
    assert without_keypoints.macs - cost().macs == 100 * mask
