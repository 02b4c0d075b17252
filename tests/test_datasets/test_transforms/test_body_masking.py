import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcv.transforms.utils import cache_random_params
from mmpose.registry import TRANSFORMS

from mmpose_ext.datasets.transforms import BodyMasking


@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    max_size=st.sampled_from([0.01, 0.3, 0.7, 1.0]),
    fill=st.sampled_from([0, 'noise']),
)
def test_fills_the_hull_of_four_quadrants(
    make_results, seed, height, width, max_size, fill
):
    np.random.seed(seed)
    original = make_results(height, width)
    points = original['transformed_keypoints'] - (2, 1)
    original['transformed_keypoints'] = points
    masking = BodyMasking(1.0, max_size, fill, mark_occluded=True)
    with cache_random_params(masking):
        right_low, left_low, left_high, right_high = vertices = (
            masking._sample_vertices(height, width)
        )
        results = masking.transform(original.copy())
    after = results['img']

    # Some pixel is strictly between all vertices, along both axes.
    left = max(left_low[0], left_high[0])
    right = min(right_low[0], right_high[0])
    top = max(left_high[1], right_high[1])
    bottom = min(left_low[1], right_low[1])
    assert right - left >= 2 and bottom - top >= 2
    limit = np.maximum(1, np.floor(max_size * np.array([width, height])))
    assert (np.ptp(vertices, axis=0) <= 2 * limit).all()

    changed = (after != original['img']).any(-1)
    y, x = np.indices(changed.shape)
    hull = cv2.convexHull(vertices.astype(np.int32))
    signed = np.vectorize(
        lambda x, y: cv2.pointPolygonTest(hull, (float(x), float(y)), True)
    )(x, y)
    # OpenCV draws the border too, and that beyond the image a bit off.
    assert changed[signed >= 0].all() and not changed[signed < -1.5].any()
    assert changed.sum() <= np.prod(2 * limit + 1)
    between = changed[max(top + 1, 0) : bottom, max(left + 1, 0) : right]
    assert between.all()
    if fill == 0:
        assert (after[changed] == 0).all()
    for point, visible in zip(
        np.rint(points).astype(int).reshape(-1, 2),
        results['keypoints_visible'].ravel(),
    ):
        inside = (point >= 0).all() and (point < (width, height)).all()
        hidden = inside and changed[point[1], point[0]]
        assert visible == 1 - hidden


def test_centres_are_uniform_in_the_middle_third():
    np.random.seed(0)
    masking = BodyMasking(max_size=1e-9)  # distances of one pixel
    vertices = [masking._sample_vertices(300, 600) for _ in range(4000)]
    x, y = np.mean(vertices, axis=1).T
    assert 200 <= x.min() < 202 and 398 <= x.max() < 400
    assert 100 <= y.min() < 102 and 198 <= y.max() < 200
    for values, low, length in ((x, 200, 200), (y, 100, 100)):
        counts = np.bincount(((values - low) // (length / 4)).astype(int))
        assert len(counts) == 4 and (np.abs(counts - 1000) < 150).all()
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.05


def test_distances_are_uniform_from_one_pixel(monkeypatch):
    masking = BodyMasking()
    rand = np.random.rand

    def rand_with_one_centre(*shape):
        drawn = rand(*shape)
        drawn[0] = 0.5
        return drawn

    monkeypatch.setattr(np.random, 'rand', rand_with_one_centre)
    np.random.seed(0)
    vertices = np.array(
        [masking._sample_vertices(100, 200) for _ in range(2000)]
    )
    offset = vertices - (100, 50)
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    assert (np.sign(offset) == signs).all()
    distance = np.abs(offset)
    assert (distance.min((0, 1)) == 1).all()
    assert (distance.max((0, 1)) == (60, 30)).all()
    np.testing.assert_allclose(distance.mean((0, 1)), (30.5, 15.5), rtol=0.03)


def test_a_distance_is_limited_by_the_whole_image():
    with pytest.raises(ValueError, match=r'max_size .* got 1\.1'):
        BodyMasking(max_size=1.1)
    with pytest.raises(ValueError, match=r'max_size .* got 0'):
        BodyMasking(max_size=0)


def test_defaults():
    assert repr(TRANSFORMS.build(dict(type='BodyMasking'))) == (
        'BodyMasking(prob=0.5, max_size=0.3, fill=128, mark_occluded=False)'
    )


def test_fills_more_channels_than_opencv_draws():
    img = np.zeros((20, 30, 5), np.uint8)
    after = BodyMasking(prob=1.0, fill=9)(dict(img=img))['img']
    assert set(np.unique(after)) == {0, 9}
    assert (after.min(-1) == after.max(-1)).all()
