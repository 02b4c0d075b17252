import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_ext.codecs.center_search import (
    check_all_finite,
    check_shapes,
    find_centers,
    read_poses,
)


def upsample_by_loops(maps, r):
    """Bilinear interpolation whose cells are areas, edges repeated."""
    h, w = maps.shape
    out = np.zeros((h * r, w * r))
    for i in range(h * r):
        for j in range(w * r):
            y, x = max((i + 0.5) / r - 0.5, 0), max((j + 0.5) / r - 0.5, 0)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            top = maps[y0, x0] * (x0 + 1 - x) + maps[y0, x1] * (x - x0)
            low = maps[y1, x0] * (x0 + 1 - x) + maps[y1, x1] * (x - x0)
            out[i, j] = top * (y0 + 1 - y) + low * (y - y0)
    return out


def peaks_by_loops(center, size):
    """Scores of the pixels (x, y) that are centres."""
    h, w = center.shape
    found = {}
    for y in range(h):
        for x in range(w):
            around = center[
                max(y - size // 2, 0) : y + size // 2 + 1,
                max(x - size // 2, 0) : x + size // 2 + 1,
            ]
            if center[y, x] > 0 and center[y, x] == around.max():
                found[x, y] = center[y, x]
    return found


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    h=st.integers(1, 6),
    w=st.integers(1, 6),
    r=st.sampled_from([1, 2, 4]),
    size=st.sampled_from([1, 3, 5]),
)
def test_search_is_a_loop_over_pixels(seed, h, w, r, size):
    rng = np.random.default_rng(seed)
    # Quarters meet often, which makes plateaus, and are interpolated exactly.
    heatmaps = rng.choice([1, 0.25], 1) * rng.integers(-3, 4, (2, 3, h, w))
    offsets = rng.normal(size=(2, 4, h, w))
    maps = torch.tensor(heatmaps), torch.tensor(offsets)
    number = h * w * r * r
    centers, scores = find_centers(maps[0][:, 2:], r, size, number)
    _, few = find_centers(maps[0][:, 2:], r, size, 5)
    keypoints = read_poses(maps[1], centers, r)
    for b in range(2):
        found = peaks_by_loops(upsample_by_loops(heatmaps[b, 2], r), size)
        best = sorted(found.values(), reverse=True) + [0] * number
        np.testing.assert_allclose(scores[b], best[:number])
        np.testing.assert_allclose(few[b], best[: min(5, number)])
        pixels = [(int(x), int(y)) for x, y in centers[b]]
        assert len(set(pixels)) == number
        expected = [found.get(pixel, 0) for pixel in pixels]
        np.testing.assert_allclose(scores[b], expected)
        poses = np.zeros((number, 2, 2))
        for m, (x, y) in enumerate(pixels):
            for q in range(2):
                ox, oy = offsets[b, 2 * q : 2 * q + 2, y // r, x // r]
                poses[m, q] = x - r * ox, y - r * oy
        np.testing.assert_allclose(keypoints[b], poses)


def test_plateaus_stay():
    maps = torch.full((2, 2, 8, 8), 0.5)
    maps[1, 1] = 0
    maps[1, 1, 2, 3:5] = 0.75
    centers, scores = find_centers(maps[:, 1:], 4, 3, 30)
    assert (scores[0] == 0.5).all()
    assert len({tuple(x) for x in centers[0].tolist()}) == 30
    # Between the middles of two cells: 8 rows of 4 + 1 and 4 + 2 px.
    top = {tuple(x) for x in centers[1][scores[1] == scores[1].max()].tolist()}
    assert top == {(x, y) for x in range(14, 18) for y in (9, 10)}
    assert scores[1].max() == 0.75 * 0.875
    assert (scores[1] > 0).sum() == 8


def test_what_is_not_finite_is_named():
    heatmaps, offsets = torch.zeros(3, 5, 8, 8), torch.zeros(3, 8, 8, 8)
    check_all_finite(heatmaps, offsets)
    offsets[2, 6, 3, 3] = torch.nan
    with pytest.raises(ValueError, match='offset map 6 of image 2 holds NaN'):
        check_all_finite(heatmaps, offsets)
    heatmaps[1, 4, 0, 7] = torch.inf
    with pytest.raises(ValueError, match='heatmap 4 of image 1 holds NaN'):
        check_all_finite(heatmaps, offsets)


def test_other_shapes_are_refused():
    check_shapes(torch.zeros(1, 4, 8, 8), torch.zeros(1, 6, 8, 8))
    for heatmaps, offsets in (
        ((1, 4, 8, 8), (1, 8, 8, 8)),
        ((2, 4, 8, 8), (1, 6, 8, 8)),
        ((1, 4, 8, 8), (1, 6, 8, 4)),
        ((1, 4, 8), (1, 6, 8)),
        ((1, 4, 8, 8, 8), (1, 6, 8, 8, 8)),
    ):
        with pytest.raises(ValueError, match=r'\(B, K \+ 1, H, W\).* got \('):
            check_shapes(torch.zeros(heatmaps), torch.zeros(offsets))
