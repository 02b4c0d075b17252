import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import init_default_scope
from mmpose.datasets.transforms import (
    BottomupGetHeatmapMask,
    BottomupRandomAffine,
    GenerateTarget,
    PackPoseInputs,
    RandomFlip,
)
from mmpose.registry import KEYPOINT_CODECS

from mmpose_ext.codecs import CenterOffset

SEEDS = st.integers(0, 2**31)


def codec(size=(128, 128), maps=(32, 32), **kwargs):
    return CenterOffset(size, maps, **kwargs)


def person(*joints):
    """Keypoints (1, K, 2) in px from joints in cells of 4 px."""
    return 4.0 * np.array([joints])


def people(*persons):
    return np.concatenate([person(*joints) for joints in persons])


def encode_by_loops(c, keypoints, visible, area, bbox, iscrowd, flip):
    """The rules, one person, keypoint and cell after the other."""
    (width, _), (w, h), r = c.input_size, c.heatmap_size, c.stride
    k = keypoints.shape[1]
    heatmaps = np.zeros((k + 1, h, w))
    weights = np.full((1, h, w), c.background_weight)
    offsets, offset_weights = np.zeros((2, 2 * k, h, w))
    area_map = np.zeros((h, w))

    def to_cells(x, y):
        if flip:  # what has been mirrored in px, mirror in cells
            return w - 1 - (width - 1 - x) / r, y / r
        return x / r, y / r

    def draw(channel, x, y, sigma):
        for i in range(h):
            for j in range(w):
                if not (
                    math.floor(x - 3 * sigma - 1)
                    <= j
                    < math.ceil(x + 3 * sigma + 2)
                    and math.floor(y - 3 * sigma - 1)
                    <= i
                    < math.ceil(y + 3 * sigma + 2)
                ):
                    continue
                d2 = (j - x) ** 2 + (i - y) ** 2
                value = math.exp(-d2 / (2 * sigma**2))
                heatmaps[channel, i, j] = max(heatmaps[channel, i, j], value)
                weights[0, i, j] = 1

    def is_inside(x, y):
        return 0 <= x < w and 0 <= y < h

    kept = []
    for p in range(len(keypoints)):
        joints = {
            q: to_cells(*keypoints[p, q]) for q in range(k) if visible[p, q]
        }
        if iscrowd[p] and not joints:
            continue
        kept.append(p)
        for q, (x, y) in joints.items():
            if is_inside(x, y):
                draw(q, x, y, c.sigma[1])
        if joints:
            cx = sum(x for x, _ in joints.values()) / len(joints)
            cy = sum(y for _, y in joints.values()) / len(joints)
        else:
            x1, y1, x2, y2 = bbox[p]
            cx, cy = to_cells((x1 + x2) / 2, (y1 + y2) / 2)
        if area[p] < c.min_area or not is_inside(cx, cy):
            continue
        draw(k, cx, cy, c.sigma[0])
        for q, (x, y) in joints.items():
            if not is_inside(x, y):
                continue
            for i in range(
                int(cy) - c.offset_radius, int(cy) + c.offset_radius
            ):
                for j in range(
                    int(cx) - c.offset_radius, int(cx) + c.offset_radius
                ):
                    if not is_inside(j, i):
                        continue
                    old = offsets[2 * q : 2 * q + 2, i, j]
                    if old.any() and area[p] > area_map[i, j]:
                        continue
                    offsets[2 * q : 2 * q + 2, i, j] = j - x, i - y
                    offset_weights[2 * q : 2 * q + 2, i, j] = (
                        1 / area[p] ** 0.5
                    )
                    area_map[i, j] = area[p]
    return heatmaps, weights, offsets, offset_weights, kept


@settings(max_examples=120, deadline=None)
@given(
    seed=SEEDS,
    number=st.integers(0, 6),
    k=st.integers(1, 5),
    sizes=st.sampled_from(
        [((64, 48), (16, 12)), ((40, 48), (20, 24)), ((12, 16), (12, 16))]
    ),
    sigma=st.sampled_from([(4, 2), (1.5, 0.75)]),
    radius=st.integers(1, 5),
    min_area=st.sampled_from([0, 150]),
    flip=st.booleans(),
)
def test_encode_is_a_loop_over_people_keypoints_and_cells(
    seed, number, k, sizes, sigma, radius, min_area, flip
):
    c = codec(*sizes, sigma=sigma, offset_radius=radius, min_area=min_area)
    rng = np.random.default_rng(seed)
    # Centres close together, joints often on cells, some of them outside;
    # in eighths of a pixel, so that nothing depends on rounding.
    size = np.array(c.input_size)
    middle = rng.uniform(-0.1, 1.1) * size
    spread = rng.choice([2, 2, 8, 30]) * c.stride
    keypoints = middle + rng.uniform(-spread, spread, (number, k, 2))
    keypoints = np.rint(keypoints * 8) / 8
    on_cell = rng.random((number, k, 1)) < 0.5
    keypoints = np.where(
        on_cell, np.rint(keypoints / c.stride) * c.stride, keypoints
    ) + (on_cell * flip * (c.stride - 1) * np.array([1, 0]))
    visible = rng.choice([0, 1, 1, 2], (number, k))
    area = rng.choice([100.0, 400, 400, 400, 900, 1600], number)
    corner = np.rint(rng.uniform(-9, size, (number, 2)))
    bbox = np.hstack([corner, corner + rng.integers(1, 20, (number, 2))])
    iscrowd = rng.choice([0, 0, 1], number)
    given_ = keypoints, visible, area, bbox, iscrowd
    before = [x.copy() for x in given_]

    encoded = c.encode(*given_, 'horizontal' if flip else None)
    for now, then in zip(given_, before):
        np.testing.assert_array_equal(now, then)
    *maps, kept = encode_by_loops(c, *given_, flip)
    names = ['heatmaps', 'heatmap_weights', 'offsets', 'offset_weights']
    for name, expected in zip(names, maps):
        assert encoded[name].dtype == np.float32
        np.testing.assert_allclose(
            encoded[name], expected, rtol=1e-6, atol=1e-6, err_msg=name
        )
    labelled = visible[kept] > 0
    inside = ((keypoints >= 0) & (keypoints < size)).all(-1)[kept]
    labels = encoded['keypoint_labels']
    assert labels.shape == (len(kept), k, 2)
    np.testing.assert_array_equal(labels[labelled], keypoints[kept][labelled])
    assert not labels[~labelled].any()
    np.testing.assert_array_equal(
        encoded['keypoint_weights'], labelled & inside
    )
    np.testing.assert_array_equal(encoded['instance_areas'], area[kept])
    for name in ('keypoint_labels', 'keypoint_weights', 'instance_areas'):
        assert encoded[name].dtype == np.float32


def test_gaussians():
    """At (10.25, 8) and, with the centre, at (16.25, 18) cells."""
    c = codec(sigma=(2, 1))
    encoded = c.encode(person((10.25, 8), (22.25, 28)), area=[2000])
    maps = encoded['heatmaps']
    assert maps.shape == (3, 32, 32)
    # floor(10.25 - 4) to ceil(10.25 + 5), floor(8 - 4) to ceil(8 + 5)
    ys, xs = np.nonzero(maps[0])
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (6, 15, 4, 12)
    assert (maps[0, 4:13, 6:16] > 0).all()
    # clipped at the border
    ys, xs = np.nonzero(maps[1])
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (18, 27, 24, 31)
    # floor(16.25 - 7) to ceil(16.25 + 8), floor(18 - 7) to ceil(18 + 8)
    ys, xs = np.nonzero(maps[2])
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (9, 24, 11, 25)
    np.testing.assert_allclose(
        [maps[0, 8, 10], maps[0, 10, 11], maps[2, 18, 16], maps[2, 20, 18]],
        np.exp([-0.0625 / 2, -4.5625 / 2, -0.0625 / 8, -7.0625 / 8]),
        rtol=1e-6,
    )
    weights = np.full((1, 32, 32), 0.1, np.float32)
    weights[0, 4:13, 6:16] = weights[0, 24:, 18:28] = 1
    weights[0, 11:26, 9:25] = 1
    np.testing.assert_array_equal(encoded['heatmap_weights'], weights)


def test_the_highest_gaussian_counts():
    c = codec(sigma=(2, 1))
    keypoints = people([(10, 10)], [(12, 10)])
    maps = c.encode(keypoints, area=[2000, 2000])['heatmaps']
    np.testing.assert_allclose(
        maps[0, 10, 9:14], np.exp([-0.5, 0, -0.5, 0, -0.5]), rtol=1e-6
    )
    np.testing.assert_allclose(
        maps[1, 10, 9:14], np.exp([-1 / 8, 0, -1 / 8, 0, -1 / 8]), rtol=1e-6
    )


def test_offsets():
    """Centre (10, 9.75), so cells 6 to 13 and 5 to 12."""
    encoded = codec().encode(person((8.5, 9), (11.5, 10.5)), area=[2500])
    offsets, weights = encoded['offsets'], encoded['offset_weights']
    assert offsets.shape == weights.shape == (4, 32, 32)
    expected = np.zeros((4, 32, 32), np.float32)
    expected[:, 5:13, 6:14] = 1 / 50
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert not offsets[expected == 0].any()
    assert offsets[:, 5, 6].tolist() == [-2.5, -4, -5.5, -5.5]
    assert offsets[:, 12, 13].tolist() == [4.5, 3, 1.5, 1.5]


def test_offsets_of_keypoints_outside_or_unlabelled():
    keypoints = person((-3, 8), (9, 8), (15, 8), (31.9, 8), (32, 8))
    visible = np.array([[1, 1, 0, 1, 1]])
    encoded = codec().encode(keypoints, visible, area=[2000])
    # The mean is that of all labelled ones, 17.475 cells.
    ys, xs = np.nonzero(encoded['offset_weights'][2])
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (13, 20, 4, 11)
    drawn = [0, 1, 0, 1, 0]
    assert encoded['heatmaps'].any((1, 2)).tolist() == [*drawn, 1]
    for name in ('offsets', 'offset_weights'):
        assert encoded[name].any((1, 2))[::2].tolist() == drawn
    assert encoded['keypoint_weights'].tolist() == [drawn]


def test_a_centre_outside_has_no_offsets():
    for x, inside in ((-0.25, False), (0, True), (31.75, True), (32, False)):
        encoded = codec().encode(person((0, 9), (2 * x, 9)), area=[2000])
        assert encoded['heatmaps'][2].any() == inside
        assert encoded['offset_weights'].any() == inside
        assert encoded['heatmaps'][0].any()


CELL = (slice(None), 10, 10)  # inside the square of each of these people
SMALL, LARGE = [(8, 10), (12, 10)], [(7, 9), (13, 11)]


@pytest.mark.parametrize(
    ('areas', 'winner'), [((900, 1600), 0), ((1600, 900), 1), ((900, 900), 1)]
)
def test_the_smaller_one_wins_or_else_the_later_one(areas, winner):
    encoded = codec(min_area=100).encode(people(SMALL, LARGE), area=areas)
    x = np.ravel((SMALL, LARGE)[winner])
    np.testing.assert_allclose(encoded['offsets'][CELL], 10 - x)
    np.testing.assert_allclose(
        encoded['offset_weights'][CELL], areas[winner] ** -0.5
    )


def test_who_writes_nothing_does_not_count():
    """The third is smaller than the second, but not than the first."""
    joints = SMALL, LARGE, [(9, 8), (11, 12)]
    encoded = codec(min_area=100).encode(
        people(*joints), area=[900, 2500, 1600]
    )
    assert encoded['offsets'][CELL].tolist() == [2, 0, -2, 0]


def test_a_larger_person_fills_in_and_overwrites_what_follows():
    joints = [(8, 10), (10, 10.5), (12, 10)], [(7, 9), (9, 11), (13, 11)]
    visible = np.array([[1, 0, 1], [1, 1, 1]])
    encoded = codec(min_area=100).encode(
        people(*joints), visible, area=[900, 1600]
    )
    assert encoded['offsets'][CELL].tolist() == [2, 0, 1, -1, -3, -1]
    weights = encoded['offset_weights'][CELL]
    np.testing.assert_allclose(weights, np.repeat([1 / 30, 1 / 40], [2, 4]))


def test_an_offset_of_zero_counts_as_unwritten():
    joints = [(10, 10), (11, 10)], [(9, 10), (11, 11)]
    encoded = codec(min_area=100).encode(people(*joints), area=[900, 1600])
    # The cell of the small person's first joint is the large one's.
    assert encoded['offsets'][CELL].tolist() == [1, 0, -1, -1]
    np.testing.assert_allclose(encoded['offset_weights'][CELL], 1 / 40)
    # Elsewhere the small one has written; a joint in the same row or column
    # is written too, as one of its two offsets is not 0.
    assert encoded['offsets'][:, 11, 10].tolist() == [0, 1, -1, 1]
    np.testing.assert_allclose(encoded['offset_weights'][:, 11, 10], 1 / 30)
    # Alone, such a joint has its weight.
    alone = codec(min_area=100).encode(person(*joints[0]), area=[900])
    assert alone['offsets'][:2, 10, 10].tolist() == [0, 0]
    np.testing.assert_allclose(alone['offset_weights'][CELL], 1 / 30)


def test_small_people_have_no_centre():
    keypoints = people([(8, 8), (10, 10)], [(20, 20), (22, 22)])
    encoded = codec().encode(keypoints, area=[1023, 1024])
    maps = encoded['heatmaps']
    assert maps[0, 8, 8] == maps[0, 20, 20] == 1
    assert maps[2, 9, 9] < 0.03 and maps[2, 21, 21] == 1
    assert not encoded['offset_weights'][:, :13, :13].any()
    assert encoded['offset_weights'].any()
    assert encoded['keypoint_weights'].tolist() == [[1, 1], [1, 1]]
    assert encoded['instance_areas'].tolist() == [1023, 1024]


def test_crowds_and_people_without_keypoints():
    keypoints = people(
        [(5, 5)], [(9, np.nan)], [(15, 15)], [(25, 25)], [(9, 9)]
    )
    visible = np.array([[1], [0], [1], [0], [0]])
    box = np.array([40, 80, 60, 88.0])  # the middle is (12.5, 21) cells
    corners = box[[[0, 1], [2, 1], [2, 3], [0, 3]]]
    rest = dict(
        keypoints_visible=visible, area=[2000] * 5, iscrowd=[0, 0, 1, 1, True]
    )
    for bbox in (np.tile(box, (5, 1)), np.tile(corners, (5, 1, 1))):
        encoded = codec().encode(keypoints, bbox=bbox, **rest)
        # The two crowds without keypoints are left out.
        assert encoded['keypoint_labels'].tolist() == [
            [[20, 20]],
            [[0, 0]],
            [[60, 60]],
        ]
        assert encoded['keypoint_weights'].tolist() == [[1], [0], [1]]
        joints, center = encoded['heatmaps']
        assert joints[5, 5] == joints[15, 15] == 1
        assert joints[9, 9] < 0.03 and joints[25, 25] == 0
        assert center[5, 5] == center[15, 15] == 1
        np.testing.assert_allclose(center[21, 12], np.exp(-1 / 128), rtol=1e-6)
        assert encoded['offset_weights'][:, 21, 12].tolist() == [0, 0]

    # Without boxes, the person without keypoints has no centre.
    encoded = codec().encode(keypoints, **rest)
    assert len(encoded['keypoint_labels']) == 3
    assert encoded['heatmaps'][1, 21, 12] < 0.3
    assert encoded['heatmaps'][1, 0, 0] < 0.3
    # Nobody is a crowd by default.
    del rest['iscrowd']
    assert len(codec().encode(keypoints, **rest)['keypoint_labels']) == 5


def test_areas_from_keypoints():
    keypoints = people(
        [(8, 8), (18, 12), (0, 30)], [(8, 8), (9, 9), (9, 9)], [(1, 1)] * 3
    )
    visible = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 0]])
    encoded = codec(min_area=300).encode(keypoints, visible)
    np.testing.assert_allclose(
        encoded['instance_areas'], [0.53 * 40 * 16, 0.53 * 16, 0], rtol=1e-6
    )
    # Only the first is large enough, with its centre at (13, 10).
    assert encoded['heatmaps'][3, 10, 13] == 1
    assert encoded['heatmaps'][3].argmax() == 10 * 32 + 13
    np.testing.assert_allclose(
        encoded['offset_weights'].max(), (0.53 * 640) ** -0.5, rtol=1e-6
    )


@pytest.mark.parametrize('area', [0, -4, 1e-9, 0.25])
@pytest.mark.filterwarnings('error')
def test_areas_without_extent(area):
    keypoints = person((8, 8), (9, 9))
    encoded = codec(min_area=0).encode(keypoints, area=[area])
    assert all(np.isfinite(x).all() for x in encoded.values())
    assert encoded['offset_weights'].any() == (area >= 0)
    assert encoded['offset_weights'].max() == float(area >= 0)
    assert encoded['instance_areas'] == np.float32(area)
    assert not codec().encode(keypoints, area=[area])['offset_weights'].any()


def test_flips_mirror_the_maps_on_the_grid_and_the_labels_in_pixels():
    c = codec((64, 48), (16, 12), min_area=100)
    keypoints = np.array([[[10.5, 8], [30, 33.25]], [[40, 20], [60, 47]]])
    area = np.array([500, 700])
    mirrored = keypoints * (-1, 1) + (63, 0)
    plain = c.encode(keypoints, area=area, flip_direction=None)
    flipped = c.encode(mirrored, area=area, flip_direction='horizontal')
    for name in ('heatmaps', 'heatmap_weights'):
        np.testing.assert_allclose(
            flipped[name], plain[name][..., ::-1], atol=1e-6
        )
    np.testing.assert_array_equal(flipped['keypoint_labels'], mirrored)
    # A joint at 30 px is in column 15 - 7.5, not at (63 - 30) / 4.
    assert flipped['heatmaps'][1, 8, 7] == flipped['heatmaps'][1, 8, 8]
    # Offsets around the first centre, at 5.0625 cells and at 9.9375.
    assert plain['offsets'][:, 5, 5].tolist() == [2.375, 3, -2.5, -3.3125]
    assert flipped['offsets'][:, 5, 9].tolist() == [-3.375, 3, 1.5, -3.3125]
    # What was right of the last column is off the grid, but not the image.
    keypoints[0, 1, 0] = 0.75
    edge = c.encode(keypoints[:1], area=[500], flip_direction='horizontal')
    assert edge['heatmaps'].any((1, 2)).tolist() == [True, False, True]
    assert edge['keypoint_weights'].tolist() == [[1, 1]]


def test_no_flip_is_the_default():
    c = codec()
    keypoints = person((8, 9), (12, 14))
    plain = c.encode(keypoints, area=[2000], flip_direction=None)
    for name, value in c.encode(keypoints, area=[2000]).items():
        np.testing.assert_array_equal(value, plain[name])


@pytest.mark.parametrize('k', [1, 14, 17])
def test_no_people(k):
    encoded = codec(background_weight=0.25).encode(
        np.zeros((0, k, 2)),
        np.zeros((0, k)),
        area=[],
        bbox=np.zeros((0, 4)),
        iscrowd=[],
        flip_direction='horizontal',
    )
    assert encoded['heatmaps'].shape == (k + 1, 32, 32)
    assert encoded['offsets'].shape == (2 * k, 32, 32)
    for name in ('heatmaps', 'offsets', 'offset_weights'):
        assert not encoded[name].any()
    assert (encoded['heatmap_weights'] == 0.25).all()
    assert encoded['keypoint_labels'].shape == (0, k, 2)
    assert encoded['keypoint_weights'].shape == (0, k)
    assert encoded['instance_areas'].shape == (0,)


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
    seed=SEEDS,
    h=st.integers(1, 6),
    w=st.integers(1, 6),
    r=st.sampled_from([1, 2, 4]),
    size=st.sampled_from([1, 3, 5]),
)
def test_decode_is_a_loop_over_pixels(seed, h, w, r, size):
    rng = np.random.default_rng(seed)
    # Quarters meet often, which makes plateaus, and are interpolated exactly.
    heatmaps = rng.choice([1, 0.25], 1) * rng.integers(-3, 4, (2, 3, h, w))
    offsets = rng.normal(size=(2, 4, h, w))
    maps = torch.tensor(heatmaps), torch.tensor(offsets)
    number = h * w * r * r
    keypoints, centers, scores = codec(
        (8 * r, 4 * r),
        (8, 4),
        decode_nms_kernel=size,
        decode_max_instances=number,
    ).batch_decode(*maps)
    *_, few = codec(
        (8 * r, 4 * r), (8, 4), decode_nms_kernel=size, decode_max_instances=5
    ).batch_decode(*maps)
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


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, flip=st.booleans())
def test_round_trip(seed, flip):
    """Poses are up to a cell minus a pixel too far to the right and below.

    The targets have cell x at r * x px, the interpolation has it at
    r * x + (r - 1) / 2, and the offset is read at the cell of the centre.
    Flipped, the targets are r - 1 px further to the left.
    """
    c = codec((256, 256), (64, 64), decode_thr=0.3)
    rng = np.random.default_rng(seed)
    # Four people whose centres are far apart, keypoints inside.
    middles = np.array([[64, 64], [64, 192], [192, 64], [192, 192]])
    keypoints = middles[:, None] + rng.uniform(-40, 40, (4, 17, 2))
    encoded = c.encode(
        keypoints,
        area=rng.uniform(2e3, 9e3, 4),
        flip_direction='horizontal' if flip else None,
    )
    maps = [torch.tensor(encoded[x]) for x in ('heatmaps', 'offsets')]
    decoded, (scores, joint_scores) = c.decode(*maps)
    assert joint_scores is None
    assert (scores > 0.9).all() and len(decoded) == len(scores)
    targets = keypoints - (3 * flip, 0)
    nearest = set()
    for pose in decoded.numpy():
        error = pose - targets
        own = abs(error).sum((1, 2)).argmin()
        nearest.add(own)
        assert (error[own] > -1e-3).all() and (error[own] < 3 + 1e-3).all()
    assert nearest == {0, 1, 2, 3}

    _, centers, scores = c.batch_decode(*(x[None] for x in maps))
    centers = centers[scores > 0.3].numpy()
    expected = keypoints.mean(1) - (3 * flip, 0) + 1.5
    distance = abs(centers[:, None] - expected).max(-1).min(1)
    assert (distance <= 2.5 + 1e-3).all()


def test_plateaus_stay():
    c = codec((32, 32), (8, 8))
    maps = torch.full((2, 2, 8, 8), 0.5)
    maps[1, 1] = 0
    maps[1, 1, 2, 3:5] = 0.75
    _, centers, scores = c.batch_decode(maps, torch.zeros(2, 2, 8, 8))
    assert (scores[0] == 0.5).all()
    assert len({tuple(x) for x in centers[0].tolist()}) == 30
    # Between the middles of two cells: 8 rows of 4 + 1 and 4 + 2 px.
    top = {tuple(x) for x in centers[1][scores[1] == scores[1].max()].tolist()}
    assert top == {(x, y) for x in range(14, 18) for y in (9, 10)}
    assert scores[1].max() == 0.75 * 0.875
    assert (scores[1] > 0).sum() == 8


def test_ties_and_negative_maps():
    c = codec((32, 32), (8, 8))
    maps = torch.full((2, 8, 8), -0.5, dtype=torch.float64)
    offsets = torch.zeros(2, 8, 8, dtype=torch.float64)
    keypoints, (scores, _) = c.decode(maps, offsets)
    assert keypoints.shape == (1, 1, 2) and scores.tolist() == [0]
    _, _, scores = c.batch_decode(maps[None], offsets[None])
    assert scores.shape == (1, 30) and not scores.any()

    maps[1, 1, 1] = maps[1, 6, 5] = 2
    maps[1, 1, 6] = 3
    keypoints, (scores, _) = c.decode(maps, offsets)
    # Four pixels each, the brightest ones first.
    assert len(keypoints) == 12
    assert (scores[:4] == scores[0]).all() and (scores[4:] == scores[4]).all()
    assert scores[0] > scores[4] > 1
    cells = keypoints[:, 0].div(4).floor().tolist()
    assert cells[:4] == [[6, 1]] * 4
    assert sorted(cells[4:]) == [[1, 1]] * 4 + [[5, 6]] * 4


def test_decode_keeps_the_best_and_those_above_the_threshold():
    c = codec((12, 9), (12, 9), decode_thr=0.25)
    maps = torch.zeros(15, 9, 12)
    maps[-1, 4, 2], maps[-1, 2, 9], maps[-1, 8, 5] = 0.25, 0.75, 0.125
    offsets = torch.zeros(28, 9, 12)
    offsets[26:, 4, 2] = torch.tensor([1.5, -2])
    keypoints, (scores, _) = c.decode(maps, offsets)
    assert keypoints.shape == (2, 14, 2)
    assert scores.tolist() == [0.75, 0.25]
    assert keypoints[0, 13].tolist() == [9, 2]
    assert keypoints[1, 0].tolist() == [2, 4]
    assert keypoints[1, 13].tolist() == [0.5, 6]
    assert c.decode(maps / 8, offsets)[1][0].tolist() == [0.75 / 8]


@pytest.mark.parametrize('shape', [(1, 1), (1, 3), (6, 5), (40, 20)])
def test_maps_of_any_size(shape):
    c = codec()
    rng = torch.Generator().manual_seed(0)
    heatmaps = torch.rand(3, 4, *shape, generator=rng)
    offsets = torch.randn(3, 6, *shape, generator=rng)
    batch = c.batch_decode(heatmaps, offsets)
    m = min(30, 16 * shape[0] * shape[1])
    assert [tuple(x.shape) for x in batch] == [(3, m, 3, 2), (3, m, 2), (3, m)]
    _, centers, scores = batch
    limit = torch.tensor([4 * shape[1], 4 * shape[0]])
    assert (centers >= 0).all() and (centers < limit).all()
    assert (scores[:, 0] > 0).all() and (scores.diff() <= 0).all()
    for b in range(3):
        alone = c.batch_decode(heatmaps[b : b + 1], offsets[b : b + 1])
        for together, single in zip(batch, alone):
            torch.testing.assert_close(together[b], single[0])
    none = c.batch_decode(heatmaps[:0], offsets[:0])
    assert [len(x) for x in none] == [0, 0, 0]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    c = codec((384, 384), (128, 128))
    rng = torch.Generator().manual_seed(0)
    heatmaps = torch.rand(1, 2, 128, 128, generator=rng).to(dtype)
    offsets = torch.randn(1, 2, 128, 128, generator=rng).to(dtype)
    expected = c.batch_decode(heatmaps.float(), offsets.float())
    with torch.autocast('cpu', torch.bfloat16):
        cast = c.batch_decode(heatmaps, offsets)
    for maps in (cast, c.batch_decode(heatmaps, offsets)):
        for actual, value in zip(maps, expected):
            assert actual.dtype == torch.float32
            torch.testing.assert_close(actual, value, rtol=0, atol=0)


def test_nan_is_named():
    heatmaps, offsets = torch.zeros(3, 5, 8, 8), torch.zeros(3, 8, 8, 8)
    offsets[2, 6, 3, 3] = torch.nan
    with pytest.raises(ValueError, match='offset map 6 of image 2 holds NaN'):
        codec().batch_decode(heatmaps, offsets)
    heatmaps[1, 4, 0, 7] = torch.nan
    with pytest.raises(ValueError, match='heatmap 4 of image 1 holds NaN'):
        codec().batch_decode(heatmaps, offsets)
    with pytest.raises(ValueError, match='heatmap 4 of image 0 holds NaN'):
        codec().decode(heatmaps[1], offsets[1])


def make_results(number):
    keypoints = np.array([[[10, 20], [30, 40]], [[50, 12], [40, 30]]])
    return dict(
        img=np.zeros((64, 64, 3), np.uint8),
        img_shape=(64, 64),
        input_size=(64, 64),
        warp_mat=np.eye(2, 3),
        flip_indices=[1, 0],
        keypoints=keypoints[:number].astype(np.float32),
        keypoints_visible=np.array([[1, 1], [1, 0]], np.float32)[:number],
        area=np.array([1500, 1600], np.float32)[:number],
        bbox=np.array([[8, 8, 40, 44], [38, 4, 55, 35]], np.float32)[:number],
        iscrowd=[0, 0][:number],
        invalid_segs=[[[0, 0, 24, 0, 24, 64, 0, 64]]],
        dataset_keypoint_weights=np.ones(2, np.float32),
    )


CONFIG = dict(type='CenterOffset', input_size=(64, 64), heatmap_size=(16, 16))


def run_pipeline(results, *transforms):
    init_default_scope('mmpose')
    for transform in (
        *transforms,
        GenerateTarget(encoder=CONFIG),
        BottomupGetHeatmapMask(),
        PackPoseInputs(),
    ):
        results = transform(results)
    return results['data_samples']


@pytest.mark.parametrize('number', [0, 1, 2])
@pytest.mark.parametrize('flip', [False, True])
def test_in_a_pipeline_of_mmpose(number, flip):
    c = KEYPOINT_CODECS.build(CONFIG)
    assert isinstance(c, CenterOffset)
    results = make_results(number)
    keypoints, visible = results['keypoints'], results['keypoints_visible']
    sample = run_pipeline(results, *([RandomFlip(prob=1.0)] if flip else []))
    if flip:
        keypoints = keypoints[:, ::-1] * (-1, 1) + (63, 0)
        visible = visible[:, ::-1]
    encoded = c.encode(
        keypoints,
        visible,
        area=results['area'],
        bbox=results['bbox'],
        flip_direction='horizontal' if flip else None,
    )
    assert set(sample.gt_fields.keys()) == {
        'heatmaps',
        'heatmap_weights',
        'offsets',
        'offset_weights',
        'heatmap_mask',
    }
    for name in set(sample.gt_fields.keys()) - {'heatmap_mask'}:
        assert torch.equal(
            getattr(sample.gt_fields, name), torch.from_numpy(encoded[name])
        ), name
    mask = sample.gt_fields.heatmap_mask.bool().reshape(16, 16)
    left, right = mask[:, :5], mask[:, 11:]
    assert not (right if flip else left).any()
    assert (left if flip else right).all()

    labels = sample.gt_instance_labels
    assert labels.keypoint_labels.shape == (number, 2, 2)
    assert labels.areas.tolist() == [1500, 1600][:number]
    np.testing.assert_allclose(
        labels.keypoint_labels[visible > 0], keypoints[visible > 0]
    )
    np.testing.assert_array_equal(labels.keypoint_weights, visible)


def test_takes_the_corners_of_random_affines():
    """Where a person has no keypoints, its box tells where it is."""
    results = make_results(2)
    results['keypoints_visible'][1] = 0
    affine = BottomupRandomAffine(
        (64, 64), shift_prob=0, rotate_prob=0, scale_factor=(1.0, 1.0)
    )
    sample = run_pipeline(results, affine, RandomFlip(prob=1.0))
    assert results['bbox'].shape == (2, 4, 2)
    center = sample.gt_fields.heatmaps[2]
    # The boxes' middle at (46.5, 19.5) px is in cell 15 - 11.625 and 4.875.
    np.testing.assert_allclose(
        center[5, 3], np.exp(-(0.375**2 + 0.125**2) / 32), rtol=1e-5
    )


def test_other_shapes_are_refused():
    keypoints = np.zeros((2, 3, 2))
    for wrong, message in (
        (np.zeros((2, 3)), r'\(N, K, 2\) .* got \(2, 3\)'),
        (np.zeros((2, 3, 3)), r'\(N, K, 2\) .* got \(2, 3, 3\)'),
        (np.zeros((2, 0, 2)), r'K of at least 1, got \(2, 0, 2\)'),
    ):
        with pytest.raises(ValueError, match=message):
            codec().encode(wrong)
    for name, shape, message in (
        ('keypoints_visible', (2, 3, 1), r'\(2, 3\), .* got \(2, 3, 1\)'),
        ('area', (3,), r'\(2,\), .* got \(3,\)'),
        ('area', (), r'\(2,\), .* got \(\)'),
        ('bbox', (2, 2), r'\(2, 4\) or \(2, 4, 2\), .* got \(2, 2\)'),
        ('iscrowd', (1,), r'\(2,\), .* got \(1,\)'),
    ):
        with pytest.raises(ValueError, match=f'{name} must .* {message}'):
            codec().encode(keypoints, **{name: np.ones(shape)})
    maps = torch.zeros
    for heatmaps, offsets in (
        (maps(4, 8, 8), maps(6, 8, 8)),
        (maps(1, 4, 8, 8), maps(1, 8, 8, 8)),
        (maps(2, 4, 8, 8), maps(1, 6, 8, 8)),
        (maps(1, 4, 8, 8), maps(1, 6, 8, 4)),
        (maps(1, 4, 8), maps(1, 6, 8)),
        (maps(1, 4, 8, 8, 8), maps(1, 6, 8, 8, 8)),
    ):
        with pytest.raises(ValueError, match=r'\(B, K \+ 1, H, W\).* got \('):
            codec().batch_decode(heatmaps, offsets)


def test_values_that_are_not_finite_are_refused():
    keypoints = np.zeros((2, 3, 2))
    keypoints[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r'keypoint 2 of person 1 .*nan'):
        codec().encode(keypoints)
    visible = np.array([[1, 1, 1], [1, 1, 0]])
    encoded = codec().encode(keypoints, visible)
    assert all(np.isfinite(x).all() for x in encoded.values())
    with pytest.raises(ValueError, match=r'area must be finite, got .*inf'):
        codec().encode(keypoints, visible, area=[1, np.inf])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(size=(128,)), r'input_size must .* 2 numbers, got \(128,\)'),
        (dict(maps=(32, 0)), r'heatmap_size\[1\] must .* got 0'),
        (dict(maps=(32.0, 32.0)), r'heatmap_size\[0\] must .* got 32\.0'),
        (dict(maps=(30, 30)), r'whole multiple .* \(128, 128\) and \(30, 30'),
        (dict(maps=(32, 64)), r'both axes, got \(128, 128\) and \(32, 64\)'),
        (dict(maps=(256, 256)), r'whole multiple .* and \(256, 256\)'),
        (dict(sigma=2), 'sigma must be .* 2 numbers, got 2'),
        (dict(sigma=(4, 0)), r'sigma\[1\] must .* got 0'),
        (dict(sigma=(4, 2, 2)), r'sigma must .* got \(4, 2, 2\)'),
        (dict(decode_nms_kernel=4), 'decode_nms_kernel must be odd, got 4'),
    ],
)
def test_refuses_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        codec(**kwargs)


@pytest.mark.parametrize(
    ('name', 'lowest'),
    [
        ('offset_radius', 1),
        ('decode_nms_kernel', 1),
        ('decode_max_instances', 1),
        ('background_weight', 0),
        ('min_area', 0),
        ('decode_thr', 0),
    ],
)
def test_refuses_what_is_no_number_or_too_low(name, lowest):
    assert getattr(codec(**{name: lowest}), name) == lowest
    for value in (lowest - 1, math.nan, math.inf, 'text', None, True, [3]):
        with pytest.raises(ValueError) as e:
            codec(**{name: value})
        assert str(e.value).startswith(f'{name} must be a')
        assert str(e.value).endswith(f', got {value!r}')


def test_defaults_are_those_of_the_official_implementation():
    c = codec()
    assert c.sigma == (4, 2)
    assert (c.offset_radius, c.background_weight) == (4, 0.1)
    assert c.min_area == 32**2
    assert (c.decode_nms_kernel, c.decode_max_instances) == (3, 30)
    assert c.decode_thr == 0.01


def test_takes_numbers_of_numpy():
    c = codec(np.array([128, 96]), [np.int64(32), np.int32(24)])
    assert (c.input_size, c.heatmap_size, c.stride) == ((128, 96), (32, 24), 4)
