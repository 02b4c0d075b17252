import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms import Compose
from mmdet.datasets.transforms import RandomCrop, RandomFlip, Resize
from mmdet.registry import TRANSFORMS

from mmpose_ext.multitask import CocoPersonDataset, WarpKeypoints

FLIP = CocoPersonDataset.METAINFO['flip_indices']
SWAP = [0, 2, 1]


def make_results(keypoints, height=60, width=80, flip_indices=SWAP):
    """An image with the keypoints (N, K, 3) of its persons, no boxes."""
    return dict(
        img=np.zeros((height, width, 3), np.uint8),
        img_shape=(height, width),
        gt_keypoints=np.array(keypoints, np.float32),
        flip_indices=flip_indices,
    )


def flip(direction):
    return RandomFlip(prob=1.0, direction=direction)


def test_resize_and_flip_by_hand():
    """80x60 to 160x180, then mirrored: x' = 160 - 2x, y' = 3y."""
    results = make_results([[[0.5, 0.5, 1], [10, 20, 2], [79.5, 59.5, 0]]])
    steps = [Resize(scale=(160, 180)), flip('horizontal'), WarpKeypoints()]
    after = Compose(steps)(results)['gt_keypoints']
    # Left and right, 1 and 2, change places with their flags.
    assert after.tolist() == [[[159, 1.5, 1], [1, 178.5, 0], [140, 60, 2]]]
    assert after.dtype == np.float32


@pytest.mark.parametrize(
    ('direction', 'expected'),
    [
        ('horizontal', [[79, 2, 2], [75, 6, 1], [77, 4, 0]]),
        ('vertical', [[1, 58, 2], [5, 54, 1], [3, 56, 0]]),
        # A turn by half, not a mirror: left stays left.
        ('diagonal', [[79, 58, 2], [77, 56, 0], [75, 54, 1]]),
    ],
)
def test_a_mirror_swaps_sides(direction, expected):
    results = make_results([[[1, 2, 2], [3, 4, 0], [5, 6, 1]]])
    after = Compose([flip(direction), WarpKeypoints()])(results)
    assert after['gt_keypoints'].tolist() == [expected]


def test_without_geometry_nothing_changes():
    results = make_results([[[1, 2, 2], [3, 4, 0], [5, 6, 1]]])
    before = results['gt_keypoints']
    after = WarpKeypoints()(results)['gt_keypoints']
    assert np.array_equal(after, before) and after is not before


def test_a_perspective_is_divided_by_its_scale():
    results = make_results([[[10, 20, 2]] * 3])
    results['homography_matrix'] = np.diag([2.0, 2.0, 4.0])
    after = WarpKeypoints()(results)['gt_keypoints']
    assert after[0, 0].tolist() == [5, 10, 2]


@pytest.mark.parametrize('scale', [(80, 60), (53, 47), (333, 800)])
@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_outside_is_unlabelled_and_the_edge_is_inside(scale, direction):
    edge = [[0, 0, 2], [80, 60, 1], [80, 0, 2], [0, 60, 2], [40, 60, 1]]
    out = [[-0.1, 5, 2], [5, -0.1, 2], [80.1, 5, 1], [5, 60.1, 1], [-9, 90, 2]]
    results = make_results([edge, out], flip_indices=[*range(5)])
    steps = [Resize(scale=scale), flip(direction), WarpKeypoints()]
    after = Compose(steps)(results)['gt_keypoints']
    assert after[0, :, 2].tolist() == [2, 1, 2, 2, 1]
    assert after[1, :, 2].tolist() == [0] * 5


def draw_keypoints(width, height):
    """Keypoints of 0 to 3 persons within an image."""
    numbers = st.integers(0, 3), st.integers(0, 2**31)

    def build(args):
        number, seed = args
        rng = np.random.default_rng(seed)
        xy = rng.uniform(0, (width, height), (number, 17, 2))
        return np.dstack([xy, rng.integers(0, 3, (number, 17))])

    return st.tuples(*numbers).map(build)


sizes = st.tuples(st.integers(8, 120), st.integers(8, 120))
directions = st.sampled_from(['horizontal', 'vertical', 'diagonal'])
steps_ = st.one_of(
    st.tuples(st.just('resize'), sizes, st.booleans()),
    st.tuples(st.just('choice'), st.lists(sizes, min_size=1, max_size=3)),
    st.tuples(st.just('flip'), directions),
    st.tuples(st.just('crop'), sizes, st.floats(0, 1), st.floats(0, 1)),
)


def follow(step, results, points):
    """Apply a step, and to points (N, 17, 2) what it does to the image.

    Returns the results, and the points explicitly resized, flipped, cropped.
    """
    name, *args = step
    height, width = results['img'].shape[:2]
    if name in ('resize', 'choice'):
        if name == 'resize':
            transform = Resize(scale=args[0], keep_ratio=args[1])
        else:
            cfg = dict(type='RandomChoiceResize', scales=args[0])
            transform = TRANSFORMS.build(dict(cfg, keep_ratio=True))
        results = transform(results)
        new = results['img'].shape[1::-1]
        return results, points * new / (width, height)
    if name == 'flip':
        results = flip(args[0])(results)
        x, y = points[..., 0], points[..., 1]
        if args[0] != 'vertical':
            x = width - x
        if args[0] != 'horizontal':
            y = height - y
        points = np.stack([x, y], -1)
        return results, points if args[0] == 'diagonal' else points[:, FLIP]
    size, *parts = args
    room = np.maximum((height - size[1], width - size[0]), 0)
    corner = (room * parts).astype(int)
    transform = RandomCrop(size)
    transform._rand_offset = lambda margin: tuple(corner)
    return transform(results), points - corner[::-1]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(steps_, max_size=5),
    keypoints=draw_keypoints(70, 50),
    seed=st.integers(0, 2**31),
)
def test_warping_is_explicit_resizing_flipping_and_cropping(
    steps, keypoints, seed
):
    np.random.seed(seed)
    results = make_results(keypoints, 50, 70, FLIP)
    points, visible = keypoints[..., :2], keypoints[..., 2]
    for step in steps:
        results, points = follow(step, results, points)
    mirrors = [s for s in steps if s[0] == 'flip' and s[1] != 'diagonal']
    visible = visible[:, FLIP] if len(mirrors) % 2 else visible
    after = WarpKeypoints()(results)['gt_keypoints']
    assert np.allclose(after[..., :2], points, atol=1e-3)
    height, width = results['img'].shape[:2]
    margin = np.minimum(points, (width, height) - points).min(-1)
    sure = abs(margin) > 0.01
    expected = np.where(margin > 0, visible, 0)
    assert np.array_equal(after[..., 2][sure], expected[sure])


@given(steps=st.lists(steps_, min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_warping_between_and_again_changes_nothing(steps):
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 50, (2, 17, 3))
    results = {}
    for often in (False, True):
        after = make_results(keypoints, 50, 70, FLIP)
        np.random.seed(0)
        for step in steps:
            after, _ = follow(step, after, np.zeros((0, 17, 2)))
            if often:
                after = WarpKeypoints()(WarpKeypoints()(after))
        results[often] = WarpKeypoints()(after)['gt_keypoints']
    torch.testing.assert_close(
        results[True][..., :2], results[False][..., :2], atol=1e-3, rtol=1e-4
    )


def test_repr():
    assert repr(WarpKeypoints()) == 'WarpKeypoints()'
