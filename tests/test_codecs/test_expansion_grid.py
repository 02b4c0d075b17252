import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_ext.codecs import KeypointExpansion

SIGMAS = [0.026, 0.025, 0.107, 0.089, 0.062]
SEEDS = st.integers(0, 2**31)


def make_grid(sigmas=SIGMAS, ksize=3):
    return KeypointExpansion(sigmas, ksize).grid


def make_persons(rng, poses=4, persons=3, batch=()):
    """Poses near to some persons, of which one has no labelled joint."""
    truth = rng.uniform(0, 100, (*batch, persons, 5, 2))
    visible = rng.choice([0, 1, 2], (*batch, persons, 5), p=[0.3, 0.3, 0.4])
    areas = rng.uniform(200, 5000, (*batch, persons))
    if persons:
        visible[..., -1, :] = 0
        near = truth[..., rng.integers(0, persons, poses), :, :]
    else:
        near = np.full((*batch, poses, 5, 2), 50.0)
    near = near + rng.normal(0, 6, near.shape)
    return [torch.from_numpy(a) for a in (near, truth, visible, areas)]


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


def test_lines_and_points():
    grid = make_grid([0.025, 0.107])
    pose = torch.tensor([[10.0, 20], [30, 40]])
    points = grid.points(pose)
    assert points.shape == (3, 3, 2, 2)
    assert points[1, 1].tolist() == [[10, 20], [30, 40]]
    # row 0 is above, column 2 to the right
    for place, scale, expected in (
        ((0, 2), 1, [[11, 19], [34.28, 35.72]]),
        ((2, 1), 1, [[10, 21], [30, 44.28]]),
        ((0, 2), 2, [[12, 18], [38.56, 31.44]]),
    ):
        found = grid.points(pose, scale)[place]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    lines = grid.lines(pose, 2)
    np.testing.assert_allclose(lines[0], [[8, 18], [21.44, 31.44]])
    # a scale for each pose
    points = grid.points(torch.zeros(4, 2, 2), torch.arange(1, 5))
    expected = [[i, -i] for i in range(1, 5)]
    assert points[:, 0, 2, 0].tolist() == expected
    assert grid.points(torch.zeros(0, 2, 2)).shape == (0, 3, 3, 2, 2)


@settings(max_examples=30, deadline=None)
@given(
    seed=SEEDS,
    match=st.sampled_from(['best', 'sum']),
    persons=st.integers(0, 3),
    ksize=st.sampled_from([1, 3, 5]),
    scale=st.sampled_from([0.37, 1.0]),
)
def test_match_is_a_loop_over_points(seed, match, persons, ksize, scale):
    tensors = make_persons(np.random.default_rng(seed), 3, persons)
    if persons:
        tensors[3][0] = 0  # the area
    if persons == 3:
        tensors[2][1] = torch.tensor([0, 0, 1, 0, 0])  # a single label
    before = [t.clone() for t in tensors]
    found = make_grid(ksize=ksize).match(*tensors, scale, match)
    for a, b in zip(tensors, before):
        assert torch.equal(a, b)
    maps, person_maps, index = encode_by_loops(
        SIGMAS, ksize, *(t.numpy() for t in tensors), scale, match
    )
    assert found.gt_index.tolist() == index.tolist()
    np.testing.assert_allclose(found.oks_maps, maps, 1e-9, 1e-12)
    np.testing.assert_allclose(found.person_maps, person_maps, 1e-9)


@pytest.mark.parametrize('rule', ['best', 'sum'])
def test_area_zero_at_the_default_scale(rule):
    grid = make_grid([0.1, 0.1])
    pose, truth = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    areas = torch.zeros(1)
    found = grid.match(pose, truth, torch.ones(1, 2), areas, rule=rule)
    expected = torch.zeros(3, 3)
    expected[2, 2] = 1
    assert found.gt_index.tolist() == [0]
    assert all(torch.equal(maps, expected) for maps in found.oks_maps[0])
    assert torch.equal(found.person_maps[0], expected)
    moved, values = grid.best_points(found.oks_maps, pose)
    assert torch.equal(moved, truth) and (values == 1).all()


@pytest.mark.parametrize('rule', ['best', 'sum'])
def test_persons_without_a_labelled_joint(rule):
    grid = make_grid([0.1, 0.1])
    pose = torch.full((1, 2, 2), 1e6)  # all similarities vanish
    truth = torch.stack([pose[0], torch.zeros(2, 2)])
    truth[0, 1] = torch.nan
    visible, areas = torch.tensor([[0, 0], [1, 0]]), torch.ones(2)
    # The second person; nobody with a joint; nobody at all.
    for some, index in ((slice(2), 1), (slice(1), -1), (slice(0), -1)):
        found = grid.match(
            pose, truth[some], visible[some], areas[some], rule=rule
        )
        assert found.gt_index.tolist() == [index]
        assert found.oks_maps.shape == (1, 2, 3, 3)
        assert found.person_maps.shape == (1, 3, 3)
        assert not found.oks_maps.any() and not found.person_maps.any()


@pytest.mark.parametrize('rule', ['best', 'sum'])
def test_batches(rule):
    tensors = make_persons(np.random.default_rng(3), batch=(2, 3))
    poses, grid = tensors[0], make_grid()
    scale = torch.tensor([[[1.0], [2], [0.5]]]).double()
    together = grid.match(*tensors, scale, rule)
    moved = grid.best_points(together.oks_maps, poses, scale)
    points = grid.points(poses, scale)
    assert points.shape == (2, 3, 4, 3, 3, 5, 2)
    for i in np.ndindex(2, 3):
        factor = float(scale[0, i[1], 0])
        alone = grid.match(*(t[i] for t in tensors), factor, rule)
        pairs = [
            *zip(together, alone),
            *zip(moved, grid.best_points(alone.oks_maps, poses[i], factor)),
            (points, grid.points(poses[i], factor)),
        ]
        for batch, one in pairs:
            assert torch.equal(batch[i], one)


def test_constants_are_of_the_kind_of_the_poses():
    """Whatever kind was used before."""
    grid = make_grid([0.025, 0.107])
    poses = torch.tensor([[1.0, 2], [3, 4]])
    with torch.inference_mode():
        first = grid.points(poses)
    for dtype in (torch.float64, torch.float32):
        scale = torch.ones((), dtype=dtype, requires_grad=True)
        points = grid.points(poses.to(dtype), scale)
        assert points.dtype == dtype
        expected = 3 + torch.tensor(0.107 / 0.025, dtype=torch.float64)
        assert points[0, 2, 1, 0] == expected.to(dtype)
        # The corner's x and y are two spacings each.
        points[2, 2].sum().backward()
        assert scale.grad.item() == pytest.approx(2 * (1 + 4.28), rel=1e-6)
    assert (first == grid.points(poses)).all()


def test_no_graph_is_kept():
    poses, *rest = make_persons(np.random.default_rng(0))
    found = make_grid().match(poses.requires_grad_(), *rest)
    assert not found.oks_maps.requires_grad


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, ksize=st.sampled_from([1, 3, 5, 11]))
def test_best_points_are_those_of_a_loop(seed, ksize):
    rng = np.random.default_rng(seed)
    # Few different values, so that there are equal ones.
    maps = torch.from_numpy(rng.integers(0, 8, (2, 5, ksize, ksize)) / 8)
    poses = torch.from_numpy(rng.uniform(0, 100, (2, 5, 2)))
    grid = make_grid(ksize=ksize)
    points = grid.points(poses, 1.5)
    moved, values = grid.best_points(maps, poses, 1.5)
    for i, k in np.ndindex(2, 5):
        best = (ksize // 2, ksize // 2)
        for row, column in np.ndindex(ksize, ksize):
            if maps[i, k, row, column] > maps[(i, k, *best)]:
                best = row, column
        assert values[i, k] == maps[(i, k, *best)]
        assert moved[i, k].tolist() == points[(i, *best, k)].tolist()


def test_refuses_what_does_not_fit():
    grid = make_grid()
    poses, truth, visible, areas = make_persons(np.random.default_rng(0))
    for shape in ((2, 14, 2), (5, 3), (2,)):
        wrong = torch.zeros(shape)
        maps = torch.zeros(*shape[:-1], 3, 3)
        for call in (
            lambda wrong, _: grid.points(wrong),
            lambda wrong, _: grid.match(wrong, truth, visible, areas),
            lambda wrong, maps: grid.best_points(maps, wrong),
        ):
            with pytest.raises(ValueError, match=r'5 sigmas, got \(.*\)'):
                call(wrong, maps)
    for tensors in (
        (poses[0], truth, visible, areas),
        (poses[None], truth, visible, areas),
        (poses, truth[:, :4], visible, areas),
        (poses, truth, visible[1:], areas),
        (poses, truth, visible, areas[1:]),
        (poses, truth, visible, areas[:, None]),
    ):
        with pytest.raises(ValueError, match=r'gt_visible of \(..., G, K\)'):
            grid.match(*tensors)
    with pytest.raises(ValueError, match=r'\(4, 5, 3, 3\) .* \(4, 5, 5, 5'):
        grid.best_points(torch.zeros(4, 5, 5, 5), poses)
