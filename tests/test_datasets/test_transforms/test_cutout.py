import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcv.transforms.utils import cache_random_params

from mmpose_ext.datasets.transforms import Cutout


@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    num_holes=st.integers(1, 4),
    size=st.sampled_from([0.5, (0.1, 0.9), 7, (1, 90), (1.0, 1.0)]),
)
def test_fills_squares_and_nothing_else(
    make_results, seed, height, width, num_holes, size
):
    np.random.seed(seed)
    before = make_results(height, width)
    original = before['img'].copy()
    cutout = Cutout(num_holes=num_holes, size=size, fill=0)
    with cache_random_params(cutout):
        holes = cutout._sample_holes(height, width)
        after = cutout.transform(before)

    expected = original.copy()
    for x1, y1, x2, y2 in holes:
        assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height
        expected[y1:y2, x1:x2] = 0
    np.testing.assert_array_equal(after['img'], expected)
    assert (after['keypoints_visible'] == 1).all()


def test_sides_and_centres_are_drawn_from_their_ranges():
    np.random.seed(0)
    cutout = Cutout(num_holes=4000, size=(0.25, 0.5))
    x1, y1, x2, y2 = cutout._sample_holes(1000, 800).T
    inside = (x1 > 0) & (y1 > 0) & (x2 < 800) & (y2 < 1000)
    side = (x2 - x1)[inside]
    assert ((y2 - y1)[inside] == side).all()
    assert 200 <= side.min() < 210 and 390 < side.max() <= 400
    # The centre is uniform: holes of 300 reach over the border often.
    assert 0.25 < 1 - inside.mean() < 0.75
    x, y = x1[inside], y1[inside]
    assert abs(np.corrcoef([x, y, side]) - np.eye(3))[:2, :2].max() < 0.1


@pytest.mark.parametrize(
    ('size', 'centre', 'hole'),
    [
        (10, (40, 10), (35, 5, 45, 15)),
        (10, (0, 0), (0, 0, 5, 5)),
        (10, (78, 35), (73, 30, 80, 40)),
        (10, (4.4, 2.16), (0, 0, 9, 7)),  # from -0.6 and -2.84, rounded
        (5, (40.7, 20.3), (38, 18, 43, 23)),  # from 38.2 and 17.8
        (0.25, (40, 10), (35, 5, 45, 15)),  # of the shorter side, 40
    ],
)
def test_holes_are_around_their_centres(size, centre, hole, monkeypatch):
    """In an image of 80 x 40 px, clipped at its border."""
    drawn = np.array([[0.5, centre[0] / 80, centre[1] / 40]])
    monkeypatch.setattr(np.random, 'rand', lambda *_: drawn)
    assert Cutout(size=size)._sample_holes(40, 80).tolist() == [[*hole]]


def test_defaults(make_results):
    np.random.seed(0)
    after = Cutout()(make_results())['img']
    assert (after == (104, 116, 124)).all(-1).any()
    assert repr(Cutout()) == (
        'Cutout(num_holes=1, size=(0.25, 0.5), fill=(104, 116, 124), '
        'prob=1.0, mark_occluded=False)'
    )
