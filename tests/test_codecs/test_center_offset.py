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


def codec(size=(128, 128), maps=(32, 32), **kwargs):
    return CenterOffset(size, maps, **kwargs)


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


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), flip=st.booleans())
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


def test_negative_maps():
    c = codec((32, 32), (8, 8))
    maps = torch.full((2, 8, 8), -0.5, dtype=torch.float64)
    offsets = torch.zeros(2, 8, 8, dtype=torch.float64)
    keypoints, (scores, _) = c.decode(maps, offsets)
    assert keypoints.shape == (1, 1, 2) and scores.tolist() == [0]
    _, _, scores = c.batch_decode(maps[None], offsets[None])
    assert scores.shape == (1, 30) and not scores.any()


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


def test_bad_maps_are_refused():
    heatmaps, offsets = torch.zeros(2, 5, 8, 8), torch.zeros(2, 8, 8, 8)
    with pytest.raises(ValueError, match=r'\(B, K \+ 1, H, W\).* got \(1, 5'):
        codec().decode(heatmaps[0], offsets[0, 1:])
    offsets[1, 6, 3, 3] = torch.nan
    with pytest.raises(ValueError, match='offset map 6 of image 0 holds NaN'):
        codec().decode(heatmaps[1], offsets[1])
    found = codec().batch_decode(heatmaps, offsets, check_finite=False)
    assert found[0].shape == (2, 30, 4, 2)
    none = codec().batch_decode(heatmaps[:0], offsets[:0])
    assert [len(x) for x in none] == [0, 0, 0]


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
    """The centre of a person without keypoints is that of its box."""
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


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(maps=(30, 30)), r'whole multiple .* \(128, 128\) and \(30, 30'),
        (dict(maps=(32, 64)), r'both axes, got \(128, 128\) and \(32, 64\)'),
        (dict(sigma=2), 'sigma must be .* 2 numbers, got 2'),
        (dict(sigma=(4, 2, 2)), r'sigma must .* got \(4, 2, 2\)'),
        (dict(decode_nms_kernel=4), 'decode_nms_kernel must be odd, got 4'),
        (dict(decode_thr=1.1), 'decode_thr must .* got 1.1'),
    ],
)
def test_refuses_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        codec(**kwargs)


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
