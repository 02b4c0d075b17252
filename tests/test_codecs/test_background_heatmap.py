import math
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import init_default_scope
from mmpose.codecs.utils import get_heatmap_maximum
from mmpose.datasets.transforms import GenerateTarget, PackPoseInputs
from mmpose.registry import KEYPOINT_CODECS

from mmpose_ext.codecs import BackgroundHeatmap, background_heatmap

SIZES = st.sampled_from(
    [
        ((64, 64), (8, 8)),
        ((48, 64), (12, 16)),
        ((64, 40), (16, 5)),  # cells of 4 x 8 px
        ((50, 30), (7, 4)),  # cells that are no whole pixels
    ]
)
SEEDS = st.integers(0, 2**31)


def codec(size=(64, 64), maps=(8, 8), **kwargs):
    return BackgroundHeatmap(size, maps, **kwargs)


def draw_by_loops(input_size, heatmap_size, sigma, keypoints, visible):
    """The rules of the docstring, one cell at a time."""
    (w, h), (columns, rows) = input_size, heatmap_size
    n, k = keypoints.shape[:2]
    maps = np.zeros((k + 1, rows, columns))
    weights = np.zeros((n, k))
    for i in range(rows):
        for j in range(columns):
            sx, sy = w / columns, h / rows
            x, y = sx * j + (sx - 1) / 2, sy * i + (sy - 1) / 2
            for p in range(n):
                for q in range(k):
                    if visible[p, q] < 0.5:
                        continue
                    kx, ky = keypoints[p, q]
                    d2 = (kx - x) ** 2 + (ky - y) ** 2
                    exponent = d2 / (2 * sigma**2)
                    if exponent > 4.6052:
                        continue
                    maps[q, i, j] += math.exp(-exponent)
                    weights[p, q] = visible[p, q]
            for q in range(k):
                maps[q, i, j] = min(maps[q, i, j], 1)
            maps[k, i, j] = 1 - max(maps[:k, i, j])
    return maps, weights


@settings(max_examples=40, deadline=None)
@given(
    sizes=SIZES,
    seed=SEEDS,
    persons=st.integers(0, 3),
    sigma=st.sampled_from([2.0, 7.0, 11.5]),
)
def test_maps_are_those_of_a_loop_over_cells(sizes, seed, persons, sigma):
    rng = np.random.default_rng(seed)
    # some of them outside
    keypoints = rng.uniform(-40, 100, (persons, 3, 2)).astype(np.float32)
    visible = rng.choice([0, 0.3, 0.7, 1], (persons, 3)).astype(np.float32)
    before = keypoints.copy(), visible.copy()
    encoded = codec(*sizes, sigma=sigma).encode(keypoints, visible)
    assert np.array_equal(keypoints, before[0])
    assert np.array_equal(visible, before[1])

    maps, weights = draw_by_loops(
        *sizes, sigma, keypoints.astype(float), visible
    )
    assert encoded['heatmaps'].dtype == np.float32
    assert encoded['keypoint_weights'].dtype == np.float32
    np.testing.assert_allclose(encoded['heatmaps'], maps, atol=1e-6)
    np.testing.assert_allclose(encoded['keypoint_weights'], weights)


def test_cells_of_eight_pixels():
    c = codec()
    assert c.scale_factor.tolist() == [8, 8]
    assert c.cell_offset.tolist() == [3.5, 3.5]
    wide = codec((64, 40), (16, 5))
    assert wide.scale_factor.tolist() == [4, 8]
    assert wide.cell_offset.tolist() == [1.5, 3.5]

    maps = c.encode(np.array([[[8 * 2 + 3.5, 8 * 5 + 3.5]]]))['heatmaps']
    assert maps[0, 5, 2] == 1 and maps[1, 5, 2] == 0
    # sigma 7 px, cells at 8 and 8 * sqrt(2) px
    np.testing.assert_allclose(maps[0, 5, 3], math.exp(-64 / 98), rtol=1e-6)
    np.testing.assert_allclose(maps[0, 4, 1], math.exp(-128 / 98), rtol=1e-6)
    # 16^2 + 8^2 px^2 is inside of 2 * 49 * 4.6052 = 451.3, 16^2 + 16^2 not
    np.testing.assert_allclose(maps[0, 6, 4], math.exp(-320 / 98), rtol=1e-6)
    assert maps[0, 7, 4] == 0 and maps[1, 7, 4] == 1


def test_visibility():
    keypoints = np.full((1, 4, 2), 30.0)
    keypoints[0, 3] = np.nan
    visible = np.array([[1, 0.6, 0, 0]])
    encoded = codec().encode(keypoints, visible)
    drawn = encoded['heatmaps'][:4].any((1, 2))
    assert drawn.tolist() == [True, True, False, False]
    np.testing.assert_allclose(encoded['keypoint_weights'], visible)

    everything = codec().encode(keypoints[:, :3])
    assert everything['keypoint_weights'].tolist() == [[1, 1, 1]]
    nobody = codec().encode(np.zeros((0, 4, 2)), np.zeros((0, 4)))
    assert not nobody['heatmaps'][:4].any()
    assert (nobody['heatmaps'][4] == 1).all()
    assert nobody['keypoint_weights'].shape == (0, 4)


def test_half_visible_is_visible():
    visible = np.array([[0.49, 0.5, 0.51, 0.55]])
    encoded = codec().encode(np.full((1, 4, 2), 27.5), visible)
    drawn = encoded['heatmaps'][:4, 3, 3]
    assert drawn.tolist() == [0, 1, 1, 1]
    np.testing.assert_allclose(
        encoded['keypoint_weights'], [[0, 0.5, 0.51, 0.55]]
    )


def test_the_cut_itself_is_drawn(monkeypatch):
    """Cut at exp(-1 / 2), which is where the next cells are with 8 px."""
    monkeypatch.setattr(background_heatmap, '_CUT', 0.5)
    heatmap, _ = codec(sigma=8).encode(np.full((1, 1, 2), 27.5))['heatmaps']
    assert heatmap[3, 3] == 1
    for row, column in ((2, 3), (4, 3), (3, 2), (3, 4)):
        assert heatmap[row, column] == pytest.approx(math.exp(-0.5))
    assert np.count_nonzero(heatmap) == 5


def test_keypoints_far_outside_take_no_part():
    """Beyond all integers, along one axis or both, without a warning."""
    far = [[1e30, 30], [30, 1e30], [-1e30, -1e30], [30, -1e30], [np.inf, 30]]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        encoded = codec().encode(np.array([[*far, [27.5, 27.5]]]))
    assert encoded['keypoint_weights'].tolist() == [[0, 0, 0, 0, 0, 1]]
    assert not encoded['heatmaps'][:5].any()


def test_values_that_are_not_finite_count_as_0():
    maps = codec().encode(np.full((1, 1, 2), 30.0))['heatmaps']
    wrong = maps.copy()
    # Next to the highest cells, which are (3, 3) and (3, 4).
    maps[0, 2, 3:5] = 0
    wrong[0, 2, 3], wrong[0, 2, 4] = np.nan, np.inf
    for mode in ('argmax', 'quarter', 'dark'):
        expected = codec(decode=mode).decode(maps)
        for found, right in zip(codec(decode=mode).decode(wrong), expected):
            np.testing.assert_array_equal(found, right)


def test_keypoints_outside_are_drawn_as_far_as_they_reach():
    # The nearest cell's centre is at 3.5 px, the Gaussian ends at 21.2 px.
    keypoints = np.array([[[-17.0, 30], [-18.0, 30], [1e9, -1e9]]])
    encoded = codec().encode(keypoints)
    assert encoded['heatmaps'][:3].any((1, 2)).tolist() == [True, False, False]
    assert encoded['keypoint_weights'].tolist() == [[1, 0, 0]]


@settings(max_examples=60, deadline=None)
@given(
    sizes=SIZES,
    seed=SEEDS,
    mode=st.sampled_from(['argmax', 'quarter', 'dark']),
)
def test_round_trip(sizes, seed, mode):
    c = codec(*sizes, decode=mode)
    rng = np.random.default_rng(seed)
    limit = np.array(c.input_size) - 1
    keypoints = rng.uniform(-0.5, limit + 0.5, (1, 6, 2))
    keypoints[0, :2] = [(0, 0), limit]
    decoded, scores = c.decode(c.encode(keypoints)['heatmaps'])
    assert decoded.shape == (1, 6, 2) and scores.shape == (1, 6)
    error = abs(decoded - keypoints) / c.scale_factor
    cell = (keypoints + 0.5) / c.scale_factor
    outermost = (cell < 1) | (cell > np.array(c.heatmap_size) - 1)
    # Bicubic interpolation repeats the outermost cells outside.
    assert (
        error <= np.where(outermost & (mode == 'argmax'), 0.75, 0.501)
    ).all()
    if mode == 'argmax':
        assert (error[~outermost] < 0.3).all()
    assert (scores > 0.5).all()


@pytest.mark.parametrize(
    ('mode', 'cells', 'largest', 'mean'),
    [
        ('argmax', 32, 1, 0.4),
        ('argmax', 64, 1, 0.4),
        ('quarter', 32, 4, 1.1),
        ('dark', 32, 4, 0.3),
        ('dark', 64, 0.01, 0.01),
    ],
)
def test_how_precise_decoding_is(mode, cells, largest, mean):
    """In px, for keypoints that are not at the border."""
    c = codec((256, 256), (cells, cells), decode=mode)
    keypoints = np.random.default_rng(0).uniform(12, 243, (1, 300, 2))
    decoded, _ = c.decode(c.encode(keypoints)['heatmaps'])
    error = abs(decoded - keypoints)
    assert error.max() < largest and error.mean() < mean


@pytest.mark.parametrize('mode', ['argmax', 'quarter', 'dark'])
@pytest.mark.parametrize('maps', [(16, 16), (24, 20), (64, 64), (96, 96)])
def test_maps_of_any_resolution_span_the_input(mode, maps):
    assert BackgroundHeatmap.any_resolution
    keypoints = np.random.default_rng(1).uniform(12, 50, (1, 30, 2))
    encoded = codec(maps=maps).encode(keypoints)['heatmaps']
    decoded, _ = codec(decode=mode).decode(encoded)
    assert abs(decoded - keypoints).max() <= max(64 / min(maps) / 2, 0.5) + 0.5


def test_argmax_of_enlarged_maps_is_the_same():
    keypoints = np.random.default_rng(2).uniform(0, 63, (1, 30, 2))
    maps = codec().encode(keypoints)['heatmaps']
    enlarged = np.stack(
        [cv2.resize(m, (64, 64), interpolation=cv2.INTER_CUBIC) for m in maps]
    )
    for given_ in (maps, enlarged):
        found, scores = codec().decode(given_)
        pixel, value = get_heatmap_maximum(enlarged[:-1])
        np.testing.assert_array_equal(found[0], pixel)
        np.testing.assert_allclose(scores[0], value, rtol=1e-6)


def test_interpolation_is_centred():
    """A peak that is symmetric about a cell is decoded to its centre."""
    maps = np.zeros((2, 8, 8), np.float32)
    maps[0, 3, 5] = 0.7
    decoded, _ = codec().decode(maps)
    # Even cells have their centre between two pixels.
    assert abs(decoded[0, 0] - [5 * 8 + 3.5, 3 * 8 + 3.5]).max() == 0.5
    odd, scores = codec((72, 72)).decode(maps)
    assert odd.tolist() == [[[5 * 9 + 4, 3 * 9 + 4]]]
    np.testing.assert_allclose(scores, [[0.7]], rtol=1e-6)


def test_background_and_input_are_left_alone():
    maps = codec().encode(np.full((1, 2, 2), 30.0))['heatmaps']
    maps[-1] = 99
    maps[0, 0, 0] = np.nan
    for mode in ('argmax', 'quarter', 'dark'):
        before = maps.copy()
        keypoints, scores = codec(decode=mode).decode(maps)
        np.testing.assert_array_equal(maps, before)
        assert keypoints.shape == (1, 2, 2) and (scores <= 1.2).all()
        assert abs(keypoints - 30).max() <= 4


@pytest.mark.parametrize('mode', ['argmax', 'quarter', 'dark'])
def test_maps_without_a_maximum(mode):
    maps = np.zeros((6, 8, 8), np.float32)
    maps[1] = -0.5
    maps[2] = np.nan
    maps[3] = -np.inf
    maps[4] = codec().encode(np.full((1, 1, 2), 30.0))['heatmaps'][0]
    # That kind alone: numpy deprecates calls which MMPose makes.
    with warnings.catch_warnings():
        warnings.simplefilter('error', RuntimeWarning)
        keypoints, scores = codec(decode=mode).decode(maps)
    assert (keypoints[0, :4] == -1).all() and (scores[0, :4] == 0).all()
    assert abs(keypoints[0, 4] - 30).max() <= 4 and scores[0, 4] > 0.8


def test_in_a_pipeline_of_mmpose():
    init_default_scope('mmpose')
    cfg = dict(
        type='BackgroundHeatmap', input_size=(64, 64), heatmap_size=(8, 8)
    )
    assert isinstance(KEYPOINT_CODECS.build(cfg), BackgroundHeatmap)
    results = dict(
        img=np.zeros((64, 64, 3), np.uint8),
        keypoints=np.full((1, 16, 2), 30, np.float32),
        keypoints_visible=np.ones((1, 16), np.float32),
        dataset_keypoint_weights=np.ones(16, np.float32),
    )
    results['keypoints_visible'][0, 3] = 0
    target = GenerateTarget(encoder=cfg, use_dataset_keypoint_weights=True)
    packed = PackPoseInputs()(target(results))['data_samples']
    assert packed.gt_fields.heatmaps.shape == (17, 8, 8)
    weights = packed.gt_instance_labels.keypoint_weights
    assert weights.shape == (1, 16)
    assert weights.sum() == 15 and weights[0, 3] == 0


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(size=(64,)), r'input_size .* got \(64,\)'),
        (dict(maps=(0, 8)), r'heatmap_size\[0\] must .* got 0'),
        (dict(sigma=0), 'sigma must .* above 0, got 0'),
        (dict(sigma=float('nan')), 'sigma must .* above 0, got nan'),
        (dict(decode='udp'), "decode must .* 'dark', got 'udp'"),
        (dict(blur_kernel_size=4), 'odd and at least 3, got 4'),
        (dict(blur_kernel_size=1), 'odd and at least 3, got 1'),
    ],
)
def test_refuses_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        codec(**kwargs)


def test_numbers_of_numpy_are_numbers():
    c = BackgroundHeatmap(
        np.array([64, 64]), [np.int64(8), 8], np.float32(7.5), 'dark',
        np.int64(5),
    )  # fmt: skip
    assert (c.input_size, c.heatmap_size) == ((64, 64), (8, 8))
    assert (c.sigma, c.blur_kernel_size) == (7.5, 5)


@pytest.mark.parametrize('shape', [(1, 8, 8), (8, 8), (1, 17, 8, 8)])
def test_refuses_what_are_no_maps(shape):
    with pytest.raises(ValueError, match=r'K \+ 1, H, W.*got shape'):
        codec().decode(np.zeros(shape, np.float32))
