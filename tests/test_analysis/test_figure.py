import io

import cv2
import numpy as np
import pytest

from mmpose_ext.analysis.figure import (
    FORMATS,
    ModelPoint,
    place_labels,
    plot_speed_accuracy,
    render,
)

TITLES = dict(title='t', subtitle='s', xlabel='FPS', ylabel='AP (%)')
FAST = ModelPoint('small net', 'a', [30, 20, 28], 60.0)
SLOW = ModelPoint('large net', 'a', [7, 6, 8], 70.0)
OTHER = ModelPoint('another net', 'b', [9], 65.0)


def overlap(a, b):
    """Area common to two boxes (x1, y1, x2, y2)."""
    sides = [min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
    return max(sides[0], 0) * max(sides[1], 0)


def test_speed_is_the_median_of_the_rounds():
    assert FAST.speed == 28 and SLOW.speed == 7 and OTHER.speed == 9


def test_points_lines_and_names():
    figure = plot_speed_accuracy([FAST, OTHER, SLOW], **TITLES)
    (axes,) = figure.axes
    assert axes.get_xlabel() == 'FPS' and axes.get_ylabel() == 'AP (%)'
    lines = axes.get_legend_handles_labels()[0]
    joined, alone = (line.get_xydata().tolist() for line in lines)
    assert joined == [[7, 70], [28, 60]]  # by speed, whatever their order
    assert alone == [[9, 65]]
    styles = [(line.get_color(), line.get_marker()) for line in lines]
    assert styles[0][0] != styles[1][0] and styles[0][1] != styles[1][1]
    bars = axes.containers[0].lines[2][0].get_segments()
    assert [bar.tolist() for bar in bars] == [
        [[6, 70], [8, 70]],
        [[20, 60], [30, 60]],
    ]
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ['a', 'b']
    assert [t.get_text() for t in axes.texts] == [
        'small net', 'large net', 'another net'
    ]  # fmt: skip


def test_one_family_needs_no_legend():
    assert plot_speed_accuracy([FAST, SLOW], **TITLES).legends == []


@pytest.mark.parametrize('ratio, scale', [(5, 'linear'), (5.01, 'log')])
def test_scale_of_speed(ratio, scale):
    points = [ModelPoint('x', 'a', [v], 1.0) for v in (2, 2 * ratio)]
    (axes,) = plot_speed_accuracy(points, **TITLES).axes
    assert axes.get_xscale() == scale
    if scale == 'log':
        axes.figure.canvas.draw()
        ticks = [t.get_text() for t in axes.get_xticklabels()]
        assert {'2', '5', '10'} <= set(ticks)


def test_labels_of_a_crowd_do_not_overlap():
    points = [
        ModelPoint(f'network number {i}', str(i), [10 + i / 10], 50 + i / 10)
        for i in range(8)
    ]
    figure = plot_speed_accuracy(points, **TITLES)
    (axes,) = figure.axes
    boxes = [t.get_window_extent().extents for t in axes.texts]
    assert len(boxes) == 8
    for i, a in enumerate(boxes):
        assert all(overlap(a, b) < 1 for b in boxes[:i])
        for point in points:
            x, y = axes.transData.transform((point.speed, point.score))
            assert not (a[0] < x < a[2] and a[1] < y < a[3])
        assert overlap(a, axes.bbox.extents) == pytest.approx(
            (a[2] - a[0]) * (a[3] - a[1])
        )


@pytest.mark.parametrize('suffix', FORMATS)
def test_file_is_the_same_each_time(suffix):
    a, b = (
        render(plot_speed_accuracy([FAST, SLOW, OTHER], **TITLES), suffix)
        for _ in range(2)
    )
    assert a == b
    start = {'.png': b'\x89PNG', '.svg': b'<?xml', '.pdf': b'%PDF'}[suffix]
    assert a.startswith(start)
    c = render(plot_speed_accuracy([FAST, OTHER], **TITLES), suffix)
    assert a != c


def test_picture():
    content = render(plot_speed_accuracy([FAST, SLOW], **TITLES))
    picture = cv2.imdecode(
        np.frombuffer(io.BytesIO(content).read(), np.uint8), 1
    )
    assert picture.shape == (780, 1200, 3) and picture.std() > 5


BOUNDS = (0, 0, 100, 100)
NOTHING = np.empty((0, 4))


def test_label_is_beside_its_point():
    boxes = place_labels(
        np.array([[30, 50]]), np.array([[20, 10]]), BOUNDS, NOTHING
    )
    assert boxes.tolist() == [[38, 45, 58, 55]]


def test_label_stays_within_the_bounds():
    boxes = place_labels(
        np.array([[90, 50]]), np.array([[20, 10]]), BOUNDS, NOTHING
    )
    assert boxes.tolist() == [[62, 45, 82, 55]]


def test_label_avoids_obstacles_and_labels():
    wall = np.array([[35, 0, 40, 100]])
    boxes = place_labels(
        np.array([[30, 50], [30, 50]]),
        np.array([[20, 10], [20, 10]]),
        BOUNDS,
        wall,
    )
    assert boxes[0].tolist() == [2, 45, 22, 55]
    # Above it would reach into the wall.
    assert overlap(boxes[1], wall[0]) == overlap(*boxes) == 0


def test_label_covers_the_least_where_all_is_full():
    full = np.array([BOUNDS] * 2 + [[0, 0, 100, 45], [0, 55, 100, 100]])
    boxes = place_labels(
        np.array([[30, 50]]), np.array([[20, 10]]), BOUNDS, full
    )
    assert boxes.tolist() == [[38, 45, 58, 55]]
