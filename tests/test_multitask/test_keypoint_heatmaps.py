import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmpose_ext.multitask.keypoint_heatmaps import (
    decode_bicubic,
    decode_parabola,
    find_inside,
    find_valid,
    gaussian_heatmaps,
    nearest_cells,
    to_cells,
    to_pixels,
)

SIZE = 56


def test_cells_by_hand():
    """A RoI of 112 x 28 px: a cell is 2 px wide and half a pixel high."""
    boxes = torch.tensor([[10.0, 20.0, 122.0, 48.0]])
    keypoints = torch.tensor(
        [[[10.0, 20.0], [122.0, 48.0], [66.0, 34.0], [11.0, 20.25]]]
    )
    cells = to_cells(keypoints, boxes, SIZE)
    # The edges, the middle between the cells 27 and 28, and cell 0's centre.
    expected = [[-0.5, -0.5], [55.5, 55.5], [27.5, 27.5], [0.0, 0.0]]
    assert cells.tolist() == [expected]
    assert to_pixels(cells, boxes, SIZE).tolist() == keypoints.tolist()


@st.composite
def boxes_with_keypoints(draw):
    """A box of 1 to 800 px and points inside it."""
    number = st.floats(0, 1, width=32)
    start = np.array([draw(number), draw(number)]) * 500
    sides = 1 + np.array([draw(number), draw(number)]) * 799
    inside = np.array([[draw(number), draw(number)] for _ in range(3)])
    return np.concatenate([start, start + sides]), start + inside * sides


@settings(deadline=None)
@given(boxes_with_keypoints())
def test_round_trip_of_random_boxes(case):
    """To the nearest cell and back: half a cell at most, on each axis."""
    box, points = (torch.tensor(a)[None] for a in case)
    cells = to_cells(points, box, SIZE)
    assert_close(to_pixels(cells, box, SIZE), points, rtol=1e-9, atol=1e-9)
    label = nearest_cells(cells, SIZE)
    centres = torch.stack([label % SIZE, label // SIZE], dim=-1)
    back = to_pixels(centres.to(points), box, SIZE)
    cell = (box[:, 2:] - box[:, :2]) / SIZE
    assert ((back - points).abs() <= cell[:, None] / 2 + 1e-9).all()


@settings(deadline=None, max_examples=50)
@given(boxes_with_keypoints())
def test_targets_decode_to_their_keypoints(case):
    """Within 1/1000 cell, but for the outermost cells: half a cell."""
    box, points = (torch.tensor(a)[None] for a in case)
    cells = to_cells(points, box, SIZE)
    valid = torch.ones(1, 3, dtype=torch.bool)
    heatmaps = gaussian_heatmaps(cells, valid, SIZE)
    found, values = decode_parabola(heatmaps)
    error = (found - cells).abs()
    peak = (cells + 0.5).floor()
    border = (peak < 1) | (peak > SIZE - 2)
    assert (error[~border] < 1e-3).all()
    assert (error <= 0.5 + 1e-9).all()
    assert (values >= math.exp(-0.25) - 1e-9).all()  # half a cell off, twice


def test_gaussians_have_a_sigma_of_one_cell():
    cells = torch.tensor([[[3.0, 5.0], [2.5, 4.0]]], dtype=torch.float64)
    valid = torch.tensor([[True, True]])
    heatmaps = gaussian_heatmaps(cells, valid, size=9)
    first, second = heatmaps[0]
    assert first[5, 3] == 1
    assert first[5, 4] == pytest.approx(math.exp(-1 / 2))
    assert first[7, 3] == pytest.approx(math.exp(-2))
    assert first[6, 4] == pytest.approx(math.exp(-1))
    # Between two columns, both are half a cell away.
    assert_close(second[4, 2].item(), math.exp(-1 / 8))
    assert_close(second[4, 3].item(), math.exp(-1 / 8))
    # The sum over the plane is 2 pi sigma^2, the sum of squares pi sigma^2.
    assert first.sum() == pytest.approx(2 * math.pi, rel=0.01)
    wide = gaussian_heatmaps(cells, valid, size=9, sigma=2)
    assert_close(wide[0, 0, 7, 3].item(), math.exp(-1 / 2))


def test_invalid_keypoints_have_no_gaussian():
    cells = torch.tensor([[[3.0, 5.0], [float('nan'), 4.0]]])
    valid = torch.tensor([[True, False]])
    heatmaps = gaussian_heatmaps(cells, valid, size=9)
    assert heatmaps[0, 0].max() == 1
    assert (heatmaps[0, 1] == 0).all()


def test_which_keypoints_are_valid():
    boxes = torch.tensor([[10.0, 10.0, 66.0, 66.0]])
    x = torch.tensor([10.0, 66.0, 9.9, 66.1, 30.0, 30.0])
    keypoints = torch.stack([x, torch.full((6,), 30.0)], dim=-1)[None]
    visible = torch.tensor([[2, 2, 2, 2, 1, 0]])
    expected = [[True, True, False, False, True, False]]
    for points in (keypoints, keypoints.flip(-1)):
        assert find_valid(points, visible, boxes, SIZE).tolist() == expected
        assert find_inside(points, visible, boxes).tolist() == expected
    for flat in ([10, 10, 10, 66], [10, 66, 66, 10], [66, 10, 10, 66]):
        boxes = torch.tensor([flat], dtype=torch.float32)
        cells = to_cells(keypoints, boxes, SIZE)
        assert cells.isfinite().all()
        assert not find_valid(keypoints, visible, boxes, SIZE).any()


def detectron2_targets(keypoints, boxes, size):
    """``_keypoints_to_heatmap`` of Detectron2, one joint after the other."""
    labels, valid = [], []
    for box, persons in zip(boxes, keypoints):
        for x, y, visible in persons:
            cell = []
            for value, start, end in ((x, *box[::2]), (y, *box[1::2])):
                floor = ((value - start) * (size / (end - start))).floor()
                cell.append(size - 1 if value == end else int(floor))
            labels.append(cell[1] * size + cell[0])
            inside = all(0 <= c < size for c in cell)
            valid.append(inside and bool(visible > 0))
    shape = keypoints.shape[:2]
    return torch.tensor(labels).view(shape), torch.tensor(valid).view(shape)


def test_targets_on_all_edges_of_cells_are_those_of_detectron2():
    """Of RoIs of many sizes, also where rounding moves a joint."""
    torch.manual_seed(0)
    start = torch.rand(60, 2) * 500
    start[:30] = start[:30].round()
    sides = torch.cat([torch.arange(20, 50), torch.rand(30) * 300])[:, None]
    boxes = torch.cat([start, start + sides], dim=1)
    steps = torch.arange(-1, SIZE + 2) / SIZE
    steps = torch.stack([steps, steps.flip(0)], dim=-1)
    extent = boxes[:, None, 2:] - boxes[:, None, :2]
    points = boxes[:, None, :2] + steps * extent
    visible = torch.arange(len(steps)).expand(60, -1) % 3
    labels, valid = detectron2_targets(
        torch.cat([points, visible[..., None]], dim=-1), boxes, SIZE
    )
    assert torch.equal(find_valid(points, visible, boxes, SIZE), valid)
    found = nearest_cells(to_cells(points, boxes, SIZE), SIZE)
    assert torch.equal(found[valid], labels[valid])


def test_a_joint_right_before_the_far_edge():
    """Rounding puts it beyond the last cell: no target, but it is inside."""
    end = torch.tensor(23.0)
    before = torch.nextafter(end, torch.tensor(0.0))
    assert before * (SIZE / end) == SIZE
    boxes = torch.tensor([[0.0, 0.0, end, end]])
    keypoints = torch.stack([before, end])[None, :, None].expand(1, 2, 2)
    visible = torch.full((1, 2), 2)
    assert find_valid(keypoints, visible, boxes, SIZE).tolist() == [
        [False, True]
    ]
    assert find_inside(keypoints, visible, boxes).tolist() == [[True, True]]


def test_rois_below_a_pixel():
    """Their targets are those of their size, decoding takes 1 px."""
    boxes = torch.tensor([[10.0, 20.0, 10.25, 20.5]], dtype=torch.float64)
    keypoints = boxes.new_tensor([[[10.125, 20.125]]])
    cells = to_cells(keypoints, boxes, SIZE)
    assert cells.tolist() == [[[27.5, 13.5]]]
    # Cell 27.5 is the middle, cell 13.5 a quarter of 1 px.
    assert to_pixels(cells, boxes, SIZE).tolist() == [[[10.5, 20.25]]]
    # The largest of 2 x 2 logits; as one pixel, there is only its centre.
    logits = torch.tensor([[[[0.0, 3.0], [0.0, 0.0]]]])
    found, _ = decode_bicubic(logits, boxes.float())
    assert to_pixels(found, boxes.float(), 2).tolist() == [[[10.5, 20.5]]]


def test_parabola_stays_on_border_cells_and_in_plateaus():
    heatmaps = torch.zeros(1, 3, 5, 5)
    heatmaps[0, 0, 0, 2] = 0.9  # upper border: no step in y
    heatmaps[0, 0, 0, 3] = 0.5
    heatmaps[0, 0, 1, 2] = 0.5
    heatmaps[0, 1] = 0.3  # the same everywhere
    heatmaps[0, 2, 2, 1] = 0.7
    heatmaps[0, 2, 2, 2] = 0.7  # two of the same: their middle
    found, values = decode_parabola(heatmaps)
    assert 2 < found[0, 0, 0] < 2.5
    assert found[0, 0, 1] == 0
    assert found[0, 1].tolist() == [0, 0]
    assert found[0, 2].tolist() == pytest.approx([1.5, 2.0])
    assert values[0].tolist() == pytest.approx([0.9, 0.3, 0.7])
    assert found.isfinite().all()


def test_parabola_stays_within_half_a_cell(monkeypatch):
    """Also where a logarithm is not rounded alike, as on other devices.

    A neighbour that is no higher is then above the middle by e, and the other
    one 2 e below it: steps of 3 e / (2 e), away from the cell.
    """
    e = 2.0**-23
    logs = {1.0: 0.0, 0.75: e, 0.5: -2 * e}
    heatmaps = torch.zeros(1, 2, 5, 5)
    heatmaps[0, 0, 2, 1:4] = torch.tensor([0.5, 1, 0.75])
    heatmaps[0, 1, 2, 1:4] = torch.tensor([0.75, 1, 0.5])

    def log(values):
        return values.clone().apply_(lambda v: logs.get(v, -80.0))

    monkeypatch.setattr(torch.Tensor, 'log', log)
    found, _ = decode_parabola(heatmaps)
    assert found[0].tolist() == [[2.5, 2], [1.5, 2]]


def test_bicubic_finds_the_middle_of_a_bump():
    """Of a smooth bump, closer than the cell that is the largest."""
    size = 14
    boxes = torch.tensor([[5.0, 6.0, 145.0, 146.0], [0.0, 0.0, 70.0, 140.0]])
    cells = torch.tensor([[[6.3, 4.8]], [[3.2, 9.6]]])
    index = torch.arange(size)
    distance = (index - cells[..., None]) ** 2
    logits = -distance[:, :, 1, :, None] - distance[:, :, 0, None, :]
    found, _ = decode_bicubic(logits, boxes)
    coarse = (cells.round() - cells).abs().mean()
    assert (found - cells).abs().mean() < coarse / 2


def test_bicubic_scores_are_a_softmax_over_the_cells():
    """A RoI of as many pixels as cells is not enlarged."""
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 9, 9)
    cells, scores = decode_bicubic(logits, torch.tensor([[2.0, 3, 11, 12]]))
    shares = logits.flatten(2).softmax(2)
    value, index = shares.max(dim=2)
    assert_close(scores, value)
    assert_close(cells, torch.stack([index % 9, index // 9], -1).float())


def test_bicubic_rounds_the_sides_of_a_roi_up():
    """2.5 x 2.25 px are enlarged to 3 x 3, which is every cell as it is."""
    logits = torch.zeros(1, 1, 3, 3)
    logits[0, 0, 1, 2] = 5.0
    boxes = torch.tensor([[10.0, 20.0, 12.5, 22.25]])
    cells, scores = decode_bicubic(logits, boxes)
    assert_close(cells, torch.tensor([[[2.0, 1.0]]]))
    # Each of the 3 pixels is 2.5 / 3 and 0.75 px of the image.
    expected = torch.tensor([[[10 + 2.5 * 2.5 / 3, 20 + 1.5 * 0.75]]])
    assert_close(to_pixels(cells, boxes, 3), expected)
    assert scores.item() == pytest.approx(1 / (1 + 8 * math.exp(-5)))


def test_bicubic_does_not_depend_on_the_other_rois():
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 8, 8)
    boxes = torch.tensor(
        [[0, 0, 20.5, 31], [3, 4, 90, 50], [5, 5, 5, 5]], dtype=torch.float32
    )
    cells, scores = decode_bicubic(logits, boxes)
    for i in range(3):
        one = decode_bicubic(logits[i : i + 1], boxes[i : i + 1])
        assert_close(cells[i], one[0][0])
        assert_close(scores[i], one[1][0])
