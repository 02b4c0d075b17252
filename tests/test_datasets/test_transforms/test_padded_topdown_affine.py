import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmpose.datasets.transforms import RandomFlip, TopdownAffine
from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix

from mmpose_ext.datasets.transforms import (
    ClippedBBoxTransform,
    PaddedTopdownAffine,
)

SIZE = (24, 32)


def make_results(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(10, 90, 2)
    return dict(
        img=rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        bbox_center=rng.uniform(0, 1, (1, 2)) * (width, height),
        bbox_scale=rng.uniform(10, 120, (1, 2)),
        bbox_rotation=rng.uniform(-180, 180, 1),
        keypoints=rng.uniform(0, 90, (1, 5, 2)),
        keypoints_visible=np.ones((1, 5)),
    )


@given(
    seed=st.integers(0, 2**31),
    border_value=st.integers(0, 255),
    use_udp=st.booleans(),
)
def test_is_opencvs_border(seed, border_value, use_udp):
    affine = PaddedTopdownAffine(SIZE, use_udp, border_value)
    given_ = make_results(seed)
    before = given_['img'].copy()
    results = affine(given_.copy())
    get_matrix = get_udp_warp_matrix if use_udp else get_warp_matrix
    matrix = get_matrix(
        results['input_center'],
        results['input_scale'],
        given_['bbox_rotation'][0],
        output_size=SIZE,
    )
    expected = cv2.warpAffine(
        before,
        matrix,
        SIZE,
        flags=cv2.INTER_LINEAR,
        borderValue=(border_value,) * 3,
    )
    assert results['img'].dtype == np.uint8
    np.testing.assert_array_equal(results['img'], expected)
    np.testing.assert_array_equal(given_['img'], before)


@given(seed=st.integers(0, 2**31), use_udp=st.booleans())
def test_all_else_is_as_in_mmpose(seed, use_udp):
    ours = PaddedTopdownAffine(SIZE, use_udp)(make_results(seed))
    theirs = TopdownAffine(SIZE, use_udp)(make_results(seed))
    assert ours.keys() == theirs.keys()
    for key in ours.keys() - {'img'}:
        np.testing.assert_array_equal(ours[key], theirs[key])
    black = PaddedTopdownAffine(SIZE, use_udp, 0)(make_results(seed))
    np.testing.assert_array_equal(black['img'], theirs['img'])


@given(seed=st.integers(0, 2**31), use_udp=st.booleans())
def test_keypoints_stay_on_their_pixels(seed, use_udp):
    """A spot on a keypoint, through flip, box transform and crop."""
    np.random.seed(seed)
    at = np.random.uniform(25, [95, 75])
    y, x = np.indices((100, 120))
    spot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 18)
    results = dict(
        img=spot.astype(np.float32),
        img_shape=(100, 120),
        bbox_center=np.random.uniform(40, 60, (1, 2)),
        bbox_scale=np.random.uniform(80, 120, (1, 2)),
        keypoints=np.stack([at, at])[None],
        keypoints_visible=np.array([[1.0, 0]]),
        flip_indices=[1, 0],
    )
    flip = seed % 2
    for transform in (
        RandomFlip(prob=float(flip)),
        ClippedBBoxTransform(shift_prob=0.5),
        PaddedTopdownAffine((96, 72), use_udp, border_value=0),
    ):
        results = transform(results)
    first, second = results['transformed_keypoints'][0]
    np.testing.assert_allclose(first, second)
    # Left and right are swapped, and so is what is visible.
    assert results['keypoints_visible'].tolist() == [[1 - flip, flip]]
    if ((first > 14) & (first < (81, 57))).all():
        img = results['img']
        y, x = np.indices(img.shape)
        centre = np.array([(x * img).sum(), (y * img).sum()]) / img.sum()
        assert abs(centre - first).max() < 0.3


def test_without_a_rotation():
    results = make_results(0)
    del results['bbox_rotation']
    upright = dict(make_results(0), bbox_rotation=np.zeros(1))
    affine = PaddedTopdownAffine(list(SIZE))
    np.testing.assert_array_equal(
        affine(results)['img'], affine(upright)['img']
    )


@pytest.mark.parametrize('border_value', [0, 7, 128])
def test_all_channels_have_the_border(border_value):
    results = make_results(0)
    results['bbox_center'] += 1000
    for channels in ((), (1,), (2,), (4,)):
        results['img'] = np.full((20, 30, *channels), 99, np.uint8)
        crop = PaddedTopdownAffine(SIZE, border_value=border_value)
        img = crop(results.copy())['img']
        assert img.size == 24 * 32 * int(np.prod(channels))
        assert (img == border_value).all()


@pytest.mark.parametrize('transformed', [False, True])
def test_keypoints_that_are_missing_or_transformed(transformed):
    """As after another transform of them, or in testing."""
    results = make_results(0)
    if transformed:
        results['transformed_keypoints'] = np.ones((1, 5, 3))
    else:
        del results['keypoints'], results['keypoints_visible']
    ours = PaddedTopdownAffine(SIZE)(results.copy())
    theirs = TopdownAffine(SIZE)(results.copy())
    assert ours.keys() == theirs.keys()
    for key in ours.keys() - {'img'}:
        np.testing.assert_array_equal(ours[key], theirs[key])


@given(seed=st.integers(0, 2**31), ratio=st.floats(0.2, 5))
def test_the_box_gets_the_ratio_as_in_mmpose(seed, ratio):
    rng = np.random.default_rng(seed)
    for dtype in (np.float32, np.float64):
        scale = rng.uniform(1, 500, (1, 2)).astype(dtype)
        for _ in range(2):  # also where it is as it should be
            expected = TopdownAffine._fix_aspect_ratio(scale, ratio)
            scale = PaddedTopdownAffine._fix_aspect_ratio(scale, ratio)
            assert scale.dtype == expected.dtype
            np.testing.assert_array_equal(scale, expected)


def test_refuses_several_persons():
    results = make_results(0)
    results['bbox_center'] = np.zeros((2, 2))
    with pytest.raises(ValueError, match='expected one person, got 2'):
        PaddedTopdownAffine(SIZE)(results)


def test_lists_and_grey_images():
    single = make_results(0)
    several = make_results(0)
    several['img'] = [several['img'], several['img'][..., 0]]
    first, second = PaddedTopdownAffine(SIZE)(several)['img']
    expected = PaddedTopdownAffine(SIZE)(single)['img']
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(second, expected[..., 0])


def test_arguments():
    assert repr(PaddedTopdownAffine(SIZE)) == (
        'PaddedTopdownAffine(input_size=(24, 32), use_udp=False, '
        'border_value=128)'
    )
    with pytest.raises(ValueError, match=r'border_value .* got 256'):
        PaddedTopdownAffine(SIZE, border_value=256)
