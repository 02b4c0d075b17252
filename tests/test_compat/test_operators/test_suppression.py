import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcv.ops.nms import SoftNMSop
from operators_of_mmcv import assert_as_mmcvs, cases
from references.make_operators import CASES, draw_boxes, draw_scores
from torchvision.ops import box_iou

from mmpose_ext.compat.operators import nms, softnms, suppression
from mmpose_ext.compat.torchvision_ops import has_torchvision_op

needs_torchvision = pytest.mark.skipif(
    not has_torchvision_op('nms', torch.device('cpu')),
    reason='needs a torchvision whose compiled part loads',
)
some_boxes = st.builds(
    draw_boxes, st.integers(0, 300), st.sampled_from([20, 100])
)
thresholds = st.integers(1, 19).map(lambda i: i / 20)


@pytest.mark.parametrize(
    'name',
    [
        *cases('nms'),
        *cases('batched_nms'),
        *cases('soft_nms'),
        *cases('nms_match'),
    ],
)
def test_results_are_mmcvs(name):
    assert_as_mmcvs(name)


@needs_torchvision
def test_results_over_torchvision_are_mmcvs(monkeypatch):
    monkeypatch.setattr(suppression, '_prefers_torchvision', lambda _: True)
    for name in CASES:
        if name.startswith(('nms of', 'batched_nms of')):
            assert_as_mmcvs(name)


@given(some_boxes, thresholds)
def test_nms_keeps_what_overlaps_nothing_better(boxes, threshold):
    scores = draw_scores(len(boxes))
    kept = nms(boxes, scores, threshold, 0)
    assert torch.equal(scores[kept], scores[kept].sort(descending=True)[0])
    overlaps = box_iou(boxes[kept], boxes) > threshold
    better = scores[kept, None] > scores
    dropped = torch.ones(len(boxes), dtype=torch.bool)
    dropped[kept] = False
    assert torch.equal((overlaps & better).any(0), dropped)


@given(some_boxes, thresholds)
def test_nms_twice_is_nms(boxes, threshold):
    scores = draw_scores(len(boxes))
    kept = nms(boxes, scores, threshold, 0)
    again = nms(boxes[kept], scores[kept], threshold, 0)
    assert torch.equal(again, torch.arange(len(kept)))


def test_each_box_overlaps_the_next():
    x = torch.arange(400.0)[:, None]
    boxes = x * torch.tensor([1, 0, 1, 0]) + torch.tensor([0, 0, 1.5, 1])
    kept = nms(boxes, -x[:, 0], 0.1, 0)
    assert torch.equal(kept, torch.arange(0, 400, 2))


def test_a_threshold_is_single_precision():
    # Their overlap is 0.3 as a float, which is more than 0.3.
    boxes = torch.tensor([[0, 0, 10, 1], [0, 0, 3, 1.0]])
    scores = torch.tensor([2, 1.0])
    assert len(nms(boxes, scores, 0.3, 0)) == 2
    below = np.nextafter(np.float32(0.3), np.float32(0))
    assert len(nms(boxes, scores, below, 0)) == 1


def test_soft_nms_of_boxes_without_area_gives_numbers():
    boxes = torch.tensor([[1, 1, 1, 1.0]]).repeat(3, 1)
    scores = torch.tensor([0.4, 0.6, 0.5])
    dets = torch.zeros(3, 5)
    kept = softnms(boxes, scores, dets, 0.3, 0.5, 0.1, 2, 0)
    assert kept.tolist() == [1, 2, 0]
    assert torch.equal(dets[:, 4], scores[kept])


def test_soft_nms_in_double_precision():
    boxes, scores = draw_boxes(30).double(), draw_scores(30).double()
    single = SoftNMSop.apply(boxes.float(), scores.float(), 0.3, 0.5, 0, 1, 0)
    dets = torch.zeros(30, 5, dtype=torch.float64)
    kept = softnms(boxes, scores, dets, 0.3, 0.5, 0, 1, 0)
    assert torch.equal(kept, single[1])
    torch.testing.assert_close(dets.float(), single[0])
