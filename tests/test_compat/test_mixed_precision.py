"""Mixed precision in bfloat16, and on a CPU."""

import warnings

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from mmpose_ext.compat.mixed_precision import convert_bfloat16_to_numpy


def test_bfloat16_becomes_float32_for_numpy():
    from mmpose.models.heads import base_head
    from mmpose.utils import tensor_utils

    to_numpy = tensor_utils.to_numpy
    assert base_head.to_numpy is to_numpy
    half = torch.tensor([[1.5, -2.25], [0.0, 3.0]], dtype=torch.bfloat16)
    array = to_numpy(half)
    assert array.dtype == np.float32
    assert array.tolist() == [[1.5, -2.25], [0.0, 3.0]]
    array, device = to_numpy(half, return_device=True)
    assert array.dtype == np.float32 and device == torch.device('cpu')
    pairs = to_numpy((half, half.double()), unzip=True)
    assert [a.dtype for a in pairs[0]] == [np.float32, np.float64]
    assert pairs[1][0].tolist() == [[0.0, 3.0]]
    assert [a.dtype for a in to_numpy([half, half.half()])] == [
        np.float32,
        np.float16,
    ]
    given = np.ones(2)
    assert to_numpy(given) is given


def test_heads_that_were_imported_before_convert_it_too(monkeypatch):
    from mmpose.models.heads import base_head
    from mmpose.utils import tensor_utils

    original = tensor_utils.to_numpy.__wrapped__
    for module in (tensor_utils, base_head):
        monkeypatch.setattr(module, 'to_numpy', original)
    convert_bfloat16_to_numpy()
    assert base_head.to_numpy is tensor_utils.to_numpy is not original


@pytest.mark.parametrize('kind', ['DCN', 'DCNv2'])
def test_deformable_convolutions_take_bfloat16(kind):
    pytest.importorskip('mmcv.ops')
    from mmcv.cnn import build_conv_layer

    torch.manual_seed(0)
    conv = build_conv_layer(
        dict(type=kind, deform_groups=1), 4, 4, 3, padding=1
    )
    conv.conv_offset.weight.data.normal_(0, 0.1)
    x = torch.randn(2, 4, 6, 6)
    grads, outputs = [], []
    for enabled in (False, True):
        maps = x.clone().requires_grad_()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            # What comes before gives bfloat16, as a convolution does.
            out = conv(maps.bfloat16() if enabled else maps)
        out.float().square().sum().backward()
        outputs.append(out.float())
        grads.append(maps.grad)
    for a, b in (outputs, grads):
        assert 0 < (a - b).norm() < 0.1 * a.norm()


def test_rois_and_nms_take_bfloat16():
    pytest.importorskip('mmcv.ops')
    from mmcv.ops import batched_nms, roi_align

    maps = torch.arange(64.0).reshape(1, 1, 8, 8)
    rois = torch.tensor([[0, 1.0, 1, 5, 5]])
    plain = roi_align(maps, rois, 2, 1.0, 0, 'avg', True)
    half = roi_align(maps.bfloat16(), rois.bfloat16(), 2, 1.0, 0, 'avg', True)
    assert half.float().flatten().tolist() == plain.flatten().tolist()

    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12.0]])
    scores = torch.tensor([0.5, 0.75, 0.25], dtype=torch.bfloat16)
    _, kept = batched_nms(
        boxes, scores, torch.zeros(3), dict(type='nms', iou_threshold=0.5)
    )
    assert kept.tolist() == [1, 2]


def test_dense_heads_predict_boxes_in_float32():
    """An anchor at 500 px is known to less than a pixel."""
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS

    import mmpose_ext.multitask  # noqa: F401

    config = dict(
        type='RPNHead',
        in_channels=4,
        feat_channels=4,
        anchor_generator=dict(
            type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[5]
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        test_cfg=ConfigDict(
            nms_pre=200,
            max_per_img=200,
            nms=dict(type='nms', iou_threshold=1.0),
            min_bbox_size=0,
        ),
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(config)
    scores = torch.zeros(1, 1, 1, 150, dtype=torch.bfloat16)
    deltas = torch.zeros(1, 4, 1, 150, dtype=torch.bfloat16)
    meta = dict(img_shape=(9, 900), scale_factor=(1, 1))
    (found,) = head.predict_by_feat([scores], [deltas], batch_img_metas=[meta])
    assert found.bboxes.dtype == found.scores.dtype == torch.float32
    # Anchors of 5 px are around multiples of 5 px, and cut at the border.
    left = found.bboxes[:, 0].sort().values
    assert left.tolist() == [max(0, 5 * i - 2.5) for i in range(150)]


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_amp_without_a_gpu():
    from mmengine.optim import AmpOptimWrapper

    layer = torch.nn.Linear(3, 1)
    sgd = torch.optim.SGD(layer.parameters(), lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        wrapper = AmpOptimWrapper(optimizer=sgd, dtype='bfloat16')
    before = layer.bias.item()
    with wrapper.optim_context(layer):
        out = layer(torch.ones(2, 3))
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().mean())
    assert layer.bias.item() == pytest.approx(before - 1)
    assert layer.weight.dtype == torch.float32
    wrapper.load_state_dict(wrapper.state_dict())
