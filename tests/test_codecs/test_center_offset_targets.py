"""The targets, by the rules of ``CenterOffset`` and its ``encode``."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_ext.codecs import CenterOffset


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
    seed=st.integers(0, 2**31),
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
    c = codec(
        *sizes,
        sigma=sigma,
        offset_radius=radius,
        min_area=min_area,
        background_weight=0.25,
    )
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
        ('bbox', (2, 2), r'\(2, 4\) or \(2, 4, 2\), .* got \(2, 2\)'),
        ('iscrowd', (1,), r'\(2,\), .* got \(1,\)'),
    ):
        with pytest.raises(ValueError, match=f'{name} must .* {message}'):
            codec().encode(keypoints, **{name: np.ones(shape)})


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
