import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpose.registry import KEYPOINT_CODECS

from mmpose_ext.codecs import KeypointExpansion

# nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
COCO = [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
        0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089]  # fmt: skip
CROWDPOSE = [0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087,
             0.087, 0.089, 0.089, 0.079, 0.079]  # fmt: skip
SEEDS = st.integers(0, 2**31)


def make_persons(rng, poses=4, persons=3, sigmas=COCO, batch=()):
    """Poses near to some persons, of which one has no labelled joint."""
    k = len(sigmas)
    truth = rng.uniform(0, 100, (*batch, persons, k, 2))
    visible = rng.choice([0, 1, 2], (*batch, persons, k), p=[0.3, 0.3, 0.4])
    areas = rng.uniform(200, 5000, (*batch, persons))
    if persons:
        visible[..., -1, :] = 0
        near = truth[..., rng.integers(0, persons, poses), :, :]
    else:
        near = np.full((*batch, poses, k, 2), 50.0)
    return near + rng.normal(0, 6, near.shape), truth, visible, areas


def oks(point, joint, sigma, area, visible):
    d2 = (point[0] - joint[0]) ** 2 + (point[1] - joint[1]) ** 2
    variance = max(2 * (2 * sigma) ** 2 * area, 1e-6)
    return math.exp(-d2 / variance) * (visible > 0)


def encode_by_loops(sigmas, s, poses, truth, visible, areas, scale, match):
    """The rules of the docstring, point by point."""
    m, k, g = len(poses), len(sigmas), len(truth)
    maps, index = np.zeros((m, k, s, s)), np.full(m, -1)
    person_maps = np.zeros((m, s, s))
    for i in range(m):
        best = -1
        for j in range(g):
            number = int((visible[j] > 0).sum())
            if number == 0:
                continue
            similar = np.zeros((k, s, s))
            for q in range(k):
                step = sigmas[q] / min(sigmas) * scale
                for row in range(s):
                    for column in range(s):
                        point = (
                            poses[i, q, 0] + (column - s // 2) * step,
                            poses[i, q, 1] + (row - s // 2) * step,
                        )
                        similar[q, row, column] = oks(
                            point, truth[j, q], sigmas[q], areas[j],
                            visible[j, q],
                        )  # fmt: skip
            score = similar.sum()
            if match == 'best':
                score = sum(similar[q].max() for q in range(k)) / number
            if score > best:
                best, index[i] = score, j
                maps[i], person_maps[i] = similar, similar.sum(0) / number
    return maps, person_maps, index


def test_spacing():
    codec = KEYPOINT_CODECS.build(
        dict(type='KeypointExpansion', sigmas=COCO, ksize=11)
    )
    assert codec.spacing.shape == (17,)
    assert codec.spacing[1] == 1  # eye
    np.testing.assert_allclose(codec.spacing[[0, 11]], [1.04, 4.28])
    equal = KeypointExpansion(COCO, scale_by_sigma=False)
    assert (equal.spacing == 1).all() and (equal.sigmas == codec.sigmas).all()


def test_grid():
    codec = KeypointExpansion([0.025, 0.107], ksize=3)
    points = codec.expand(np.array([[10.0, 20], [30, 40]]))
    assert points.shape == (3, 3, 2, 2) and points.dtype == np.float64
    assert points[1, 1].tolist() == [[10, 20], [30, 40]]
    # row 0 is above, column 2 to the right
    np.testing.assert_allclose(points[0, 2], [[11, 19], [34.28, 35.72]])
    np.testing.assert_allclose(points[2, 1], [[10, 21], [30, 44.28]])

    twice = codec.expand(np.array([[10.0, 20], [30, 40]]), scale=2)
    np.testing.assert_allclose(twice[0, 2], [[12, 18], [38.56, 31.44]])
    # a scale for each pose
    poses = np.zeros((4, 2, 2))
    each = codec.expand(poses, scale=np.array([1, 2, 3, 4.0]))
    np.testing.assert_allclose(
        each[:, 0, 2, 0], [[i, -i] for i in range(1, 5)]
    )
    assert KeypointExpansion(COCO).expand(np.zeros((0, 17, 2))).shape == (
        0, 11, 11, 17, 2,
    )  # fmt: skip


def test_similarity_by_hand():
    codec = KeypointExpansion([0.1, 0.2, 0.1], ksize=3)
    pose = np.array([[[5.0, 5], [20, 20], [0, 0]]])
    truth = np.array([[[6.0, 5], [20, 24], [0, 0]]])
    encoded = codec.encode(pose, truth, np.array([[1, 2, 0]]), np.array([50]))
    maps = encoded['oks_maps'][0]
    # 2 (2 * 0.1)^2 50 = 4 and 2 (2 * 0.2)^2 50 = 16
    e = math.exp
    np.testing.assert_allclose(
        maps[0],
        [
            [e(-5 / 4), e(-2 / 4), e(-1 / 4)],
            [e(-4 / 4), e(-1 / 4), 1],
            [e(-5 / 4), e(-2 / 4), e(-1 / 4)],
        ],
    )
    np.testing.assert_allclose(maps[1, :, 1], [e(-36 / 16), e(-1), e(-4 / 16)])
    assert (maps[2] == 0).all()
    np.testing.assert_allclose(
        encoded['person_maps'][0], (maps[0] + maps[1]) / 2
    )
    assert encoded['gt_index'].tolist() == [0]


@settings(max_examples=30, deadline=None)
@given(
    seed=SEEDS,
    match=st.sampled_from(['best', 'sum']),
    persons=st.integers(0, 3),
    ksize=st.sampled_from([1, 3, 5]),
    sigmas=st.sampled_from([COCO, CROWDPOSE]),
    scale=st.sampled_from([0.37, 1.0]),
)
def test_encode_is_a_loop_over_points(
    seed, match, persons, ksize, sigmas, scale
):
    rng = np.random.default_rng(seed)
    arrays = make_persons(rng, 3, persons, sigmas)
    if persons:
        arrays[3][0] = 0  # the area
    before = [a.copy() for a in arrays]
    codec = KeypointExpansion(sigmas, ksize)
    encoded = codec.encode(*arrays, scale=scale, match=match)
    for a, b in zip(arrays, before):
        np.testing.assert_array_equal(a, b)
    maps, person_maps, index = encode_by_loops(
        sigmas, ksize, *arrays, scale, match
    )
    assert encoded['gt_index'].tolist() == index.tolist()
    assert encoded['oks_maps'].dtype == np.float64
    np.testing.assert_allclose(encoded['oks_maps'], maps, 1e-9, 1e-12)
    np.testing.assert_allclose(encoded['person_maps'], person_maps, 1e-9)


@pytest.mark.parametrize('match', ['best', 'sum'])
def test_maps_are_the_similarities_of_the_expanded_points(match):
    poses, truth, visible, areas = make_persons(np.random.default_rng(0))
    codec = KeypointExpansion(COCO, 5)
    encoded = codec.encode(poses, truth, visible, areas, 0.7, match)
    points = codec.expand(poses, 0.7)
    for i, j in enumerate(encoded['gt_index']):
        for q in range(17):
            expected = [
                [oks(p, truth[j, q], COCO[q], areas[j], visible[j, q])
                 for p in row] for row in points[i, :, :, q]
            ]  # fmt: skip
            np.testing.assert_allclose(
                encoded['oks_maps'][i, q], expected, 1e-9, 1e-12
            )


def test_the_two_rules_of_matching_differ():
    # One labelled joint that is met exactly, or two at a small distance.
    pose = np.zeros((1, 2, 2))
    truth = np.array([[[0.0, 0], [9, 9]], [[1.0, 0], [0, 1]]])
    visible, areas = np.array([[1, 0], [1, 1]]), np.array([500.0, 500])
    codec = KeypointExpansion([0.1, 0.1], 1)
    for match, index, first in (
        ('best', 0, 1),
        ('sum', 1, math.exp(-1 / 40)),
    ):
        encoded = codec.encode(pose, truth, visible, areas, match=match)
        assert encoded['gt_index'].tolist() == [index]
        np.testing.assert_allclose(encoded['oks_maps'][0, 0], [[first]])


@pytest.mark.parametrize('match', ['best', 'sum'])
def test_persons_without_a_labelled_joint(match):
    codec = KeypointExpansion([0.1, 0.1], 3)
    pose = np.full((1, 2, 2), 1e6)  # all similarities vanish
    truth = np.stack([pose[0], np.zeros((2, 2))])
    truth[0, 1] = np.nan
    visible, areas = np.array([[0, 0], [1, 0]]), np.ones(2)
    encoded = codec.encode(pose, truth, visible, areas, match=match)
    assert encoded['gt_index'].tolist() == [1]
    assert (encoded['oks_maps'] == 0).all()

    for some in (slice(1), slice(0)):  # nobody else, or nobody at all
        encoded = codec.encode(
            pose, truth[some], visible[some], areas[some], match=match
        )
        assert encoded['gt_index'].tolist() == [-1]
        assert (encoded['oks_maps'] == 0).all()
        assert (encoded['person_maps'] == 0).all()
        assert encoded['oks_maps'].shape == (1, 2, 3, 3)
        assert encoded['person_maps'].shape == (1, 3, 3)


def test_area_zero():
    codec = KeypointExpansion([0.1], 3)
    encoded = codec.encode(
        np.zeros((1, 1, 2)), np.ones((1, 1, 2)), np.ones((1, 1)), np.zeros(1)
    )
    expected = np.zeros((3, 3))
    expected[2, 2] = 1
    assert encoded['oks_maps'][0, 0].tolist() == expected.tolist()


@pytest.mark.parametrize('match', ['best', 'sum'])
def test_batches(match):
    rng = np.random.default_rng(3)
    arrays = make_persons(rng, batch=(2, 3))
    codec = KeypointExpansion(COCO, 3)
    scale = np.array([[[1.0], [2], [0.5]]])
    together = codec.encode(*arrays, scale=scale, match=match)
    moved, values = codec.decode(together['oks_maps'], arrays[0], scale)
    points = codec.expand(arrays[0], scale)
    assert points.shape == (2, 3, 4, 3, 3, 17, 2)
    for i in np.ndindex(2, 3):
        factor = float(scale[0, i[1], 0])
        one = codec.encode(*(a[i] for a in arrays), scale=factor, match=match)
        for key, array in one.items():
            np.testing.assert_array_equal(together[key][i], array)
        alone = codec.decode(one['oks_maps'], arrays[0][i], factor)
        np.testing.assert_array_equal(moved[i], alone[0])
        np.testing.assert_array_equal(values[i], alone[1])
        np.testing.assert_array_equal(
            points[i], codec.expand(arrays[0][i], factor)
        )


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_numpy_and_torch_are_the_same(dtype):
    arrays = make_persons(np.random.default_rng(4), sigmas=CROWDPOSE)
    arrays = [a.astype(dtype) for a in arrays]
    tensors = [torch.from_numpy(a) for a in arrays]
    codec = KeypointExpansion(CROWDPOSE)
    ours, theirs = codec.encode(*arrays), codec.encode(*tensors)
    pairs = [(ours[key], theirs[key]) for key in ours]
    pairs += zip(
        codec.decode(ours['oks_maps'], arrays[0]),
        codec.decode(theirs['oks_maps'], tensors[0]),
    )
    pairs.append((codec.expand(arrays[0]), codec.expand(tensors[0])))
    for array, tensor in pairs:
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, tensor.numpy())
        assert array.dtype == tensor.numpy().dtype
    assert ours['gt_index'].dtype == np.int64
    assert all(
        array.dtype == dtype for array, _ in pairs if array.dtype != np.int64
    )
    # Whole numbers, and views that torch does not take.
    whole = codec.expand(np.arange(28).reshape(14, 2)[::-1])
    assert whole.dtype == np.float64 and whole[5, 5, 0, 0] == 26


def test_constants_are_of_the_kind_of_the_poses():
    """Whatever kind was used before."""
    codec = KeypointExpansion([0.025, 0.107], 3)
    poses = torch.tensor([[1.0, 2], [3, 4]])
    with torch.inference_mode():
        first = codec.expand(poses)
    for dtype in (torch.float64, torch.float32):
        scale = torch.ones((), dtype=dtype, requires_grad=True)
        points = codec.expand(poses.to(dtype), scale)
        assert points.dtype == dtype
        expected = 3 + torch.tensor(0.107 / 0.025, dtype=torch.float64)
        assert points[0, 2, 1, 0] == expected.to(dtype)
        # The corner's x and y are two spacings each.
        points[2, 2].sum().backward()
        assert scale.grad.item() == pytest.approx(2 * (1 + 4.28), rel=1e-6)
    assert (first == codec.expand(poses)).all()


def test_no_graph_is_kept():
    tensors = [
        torch.from_numpy(a) for a in make_persons(np.random.default_rng(0))
    ]
    encoded = KeypointExpansion(COCO).encode(
        tensors[0].requires_grad_(), *tensors[1:]
    )
    assert not encoded['oks_maps'].requires_grad


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, ksize=st.sampled_from([1, 3, 5, 11]))
def test_decode_is_a_loop_over_points(seed, ksize):
    rng = np.random.default_rng(seed)
    # Few different values, so that there are equal ones.
    maps = rng.integers(0, 8, (2, 17, ksize, ksize)).astype(float)
    poses = rng.uniform(0, 100, (2, 17, 2))
    codec = KeypointExpansion(COCO, ksize)
    points = codec.expand(poses, 1.5)
    moved, values = codec.decode(maps, poses, 1.5)
    for i, k in np.ndindex(2, 17):
        best = (ksize // 2, ksize // 2)
        for row, column in np.ndindex(ksize, ksize):
            if maps[i, k, row, column] > maps[(i, k, *best)]:
                best = row, column
        assert values[i, k] == maps[(i, k, *best)]
        assert moved[i, k].tolist() == points[(i, *best, k)].tolist()


def test_decode_finds_the_truth():
    rng = np.random.default_rng(5)
    codec = KeypointExpansion(COCO)
    truth = rng.uniform(0, 100, (1, 17, 2))
    steps = rng.integers(-5, 6, (1, 17, 2))
    poses = truth - steps * codec.spacing[:, None]
    visible = np.ones((1, 17))
    visible[0, 4] = 0
    encoded = codec.encode(poses, truth, visible, np.array([900.0]))
    moved, values = codec.decode(encoded['oks_maps'], poses)
    stays = visible[0] == 0
    np.testing.assert_allclose(moved[0, ~stays], truth[0, ~stays])
    np.testing.assert_array_equal(moved[0, stays], poses[0, stays])
    np.testing.assert_allclose(values, visible)
    nobody = codec.decode(np.zeros((0, 17, 11, 11)), np.zeros((0, 17, 2)))
    assert nobody[0].shape == (0, 17, 2) and nobody[1].shape == (0, 17)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(ksize=4), 'ksize must be odd, got 4'),
        (dict(ksize=0), 'ksize must be .* at least 1, got 0'),
        (dict(ksize=-3), 'ksize must be .* got -3'),
        (dict(ksize=3.0), 'ksize must be .* got 3.0'),
        (dict(ksize=True), 'ksize must be .* got True'),
        (dict(ksize=None), 'ksize must be .* got None'),
        (dict(ksize='3'), "ksize must be .* got '3'"),
        (dict(sigmas=[0.1, 0]), r'sigmas\[1\] must be .* above 0, got 0'),
        (dict(sigmas=[0.1, -1]), r'sigmas\[1\] must .* got -1'),
        (dict(sigmas=[float('nan')]), r'sigmas\[0\] must .* got nan'),
        (dict(sigmas=[float('inf')]), r'sigmas\[0\] must .* got inf'),
        (dict(sigmas=[True]), r'sigmas\[0\] must .* got True'),
        (dict(sigmas=[]), r'sigmas must .* got \[\]'),
        (dict(sigmas=None), 'sigmas must .* got None'),
        (dict(sigmas='0.1'), "sigmas must .* got '0.1'"),
        (dict(sigmas=[[0.1]]), r'sigmas\[0\] must .* got \[0.1\]'),
        (dict(scale_by_sigma='no'), "scale_by_sigma must .* got 'no'"),
        (dict(scale_by_sigma=None), 'scale_by_sigma must .* got None'),
    ],
)
def test_refuses_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        KeypointExpansion(**{'sigmas': COCO, **kwargs})


def test_refuses_what_does_not_fit():
    codec = KeypointExpansion(COCO, 3)
    poses, truth, visible, areas = make_persons(np.random.default_rng(0))
    for wrong in (np.zeros((2, 14, 2)), np.zeros((17, 3)), np.zeros(2)):
        with pytest.raises(ValueError, match=r'17 sigmas, got \(.*\)'):
            codec.expand(wrong)
        with pytest.raises(ValueError, match=r'17 sigmas, got \(.*\)'):
            codec.encode(wrong, truth, visible, areas)
        with pytest.raises(ValueError, match=r'17 sigmas, got \(.*\)'):
            codec.decode(np.zeros((*wrong.shape[:-1], 3, 3)), wrong)
    for arrays in (
        (poses[0], truth, visible, areas),
        (poses[None], truth, visible, areas),
        (poses, truth[:, :14], visible, areas),
        (poses, truth, visible[1:], areas),
        (poses, truth, visible, areas[1:]),
        (poses, truth, visible, areas[:, None]),
    ):
        with pytest.raises(ValueError, match=r'gt_visible of \(..., G, K\)'):
            codec.encode(*arrays)
    with pytest.raises(ValueError, match=r'\(4, 17, 3, 3\) .* \(4, 17, 5, 5'):
        codec.decode(np.zeros((4, 17, 5, 5)), poses)
    with pytest.raises(
        ValueError, match=r"match must .* 'best', 'sum', got 'mean'"
    ):
        codec.encode(poses, truth, visible, areas, match='mean')
