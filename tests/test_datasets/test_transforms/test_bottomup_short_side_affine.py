import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms.utils import cache_random_params
from mmengine.dataset import Compose
from mmpose.datasets.transforms import BottomupRandomAffine

from mmpose_ext.datasets.transforms import BottomupShortSideAffine

lengths = st.integers(1, 300)
seeds = st.integers(0, 2**31)


def make_results(width, height, seed=0, num=2):
    rng = np.random.default_rng(seed)
    size = np.array([width, height])
    low, high = np.sort(rng.uniform(0, 1, (2, num, 2)), axis=0) * size
    return dict(
        img=rng.integers(1, 255, (height, width, 3), dtype=np.uint8),
        img_shape=(height, width),
        ori_shape=(height, width),
        keypoints=(rng.uniform(0, 1, (num, 17, 2)) * size).astype(np.float32),
        keypoints_visible=np.ones((num, 17), np.float32),
        bbox=np.hstack([low, high]).astype(np.float32),
        area=rng.uniform(1, 900, num).astype(np.float32),
    )


def run_affine(affine, results):
    """Its results, and the crop that it drew."""
    drawn = []
    sample = affine._sample_crop

    def spy(*args):
        drawn.append(sample(*args))
        return drawn[-1]

    affine._sample_crop = spy
    return affine(results), *drawn


@given(
    width=lengths,
    height=lengths,
    seed=seeds,
    num=st.integers(0, 3),
    shift=st.sampled_from([0, 0.2, 1]),
    rotate=st.sampled_from([0, 30, 180]),
)
@settings(max_examples=50)
def test_is_that_of_the_crop(width, height, seed, num, shift, rotate):
    """In closed form, and as MMPose's does with the same crop."""
    np.random.seed(seed)
    affine = BottomupShortSideAffine((64, 64), (0.5, 2), shift, rotate)
    before = make_results(width, height, seed, num)
    after, (side, offset, angle) = run_affine(affine, before.copy())

    turn = np.deg2rad(-angle)
    turn = np.array(
        [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    )
    centre = np.array([width / 2, height / 2]) + offset
    scale = 64 / side
    expected = scale * (before['keypoints'] - centre) @ turn.T + 32
    tolerance = dict(rtol=1e-4, atol=1e-3 * max(1, scale))
    np.testing.assert_allclose(after['keypoints'], expected, **tolerance)
    np.testing.assert_allclose(after['area'], before['area'] * scale**2)
    assert after['bbox'].shape == (num, 4, 2)
    assert after['img'].shape == (64, 64, 3)
    assert after['input_size'] == (64, 64)
    assert after['img_shape'] == (height, width)

    if num == 0:
        return  # there MMPose's fails
    theirs = BottomupRandomAffine((64, 64))
    short = min(width, height)
    theirs._get_transform_params = lambda: (
        offset / (width, height),
        np.array([side / short]),
        angle,
        np.zeros(2),
    )
    again = {k: np.copy(v) for k, v in before.items() if k != 'img_shape'}
    theirs = theirs(dict(again, img_shape=before['img_shape']))
    assert theirs.keys() == after.keys()
    np.testing.assert_array_equal(after['img'], theirs['img'])
    for key in ('keypoints', 'bbox', 'area', 'warp_mat'):
        assert after[key].dtype == theirs[key].dtype
        np.testing.assert_allclose(after[key], theirs[key], **tolerance)


@given(width=st.integers(60, 120), height=st.integers(60, 120), seed=seeds)
@settings(max_examples=50)
def test_moves_keypoints_with_the_image(
    make_spot, find_centre, width, height, seed
):
    np.random.seed(seed)
    at = np.random.uniform(0.3, 0.7, 2) * (width, height)
    img = make_spot(width, height, at, 2.5)
    results = dict(img=img, keypoints=at[None, None], area=np.array([4.0]))
    after = BottomupShortSideAffine((96, 96))(results)
    keypoint = after['keypoints'][0, 0]
    if (np.abs(keypoint - 47.5) < 32).all():
        found = find_centre(after['img'])
        assert np.abs(found - keypoint).max() < 0.3
        # The mass of the spot grows as areas do.
        growth = after['img'].sum() / img.sum()
        assert abs(growth / (after['area'][0] / 4) - 1) < 0.03


def test_draws_uniformly():
    np.random.seed(0)
    affine = BottomupShortSideAffine((64, 64))
    drawn = [affine._sample_crop(400) for _ in range(6000)]
    side, shift, angle = map(np.array, zip(*drawn))
    limit = np.floor(0.2 * side)
    assert (np.abs(shift) <= limit[:, None]).all()
    assert np.issubdtype(shift.dtype, np.integer)
    for values, low, high in (
        (side, 300, 600),
        (angle, -30, 30),
        (shift[:, 0] / (limit + 0.5), -1, 1),
        (shift[:, 1] / (limit + 0.5), -1, 1),
    ):
        assert low <= values.min() and values.max() <= high
        counts, _ = np.histogram(values, 6, (low, high))
        assert (np.abs(counts - 1000) < 150).all()
    together = np.corrcoef([side, angle, *(shift / limit[:, None]).T])
    assert np.abs(together - np.eye(4)).max() < 0.05


def test_shift_reaches_both_ends():
    np.random.seed(0)
    affine = BottomupShortSideAffine((64, 64), (1, 1), shift_factor=0.2)
    shifts = np.array([affine._sample_crop(14)[1] for _ in range(200)])
    assert set(shifts[:, 0]) == set(shifts[:, 1]) == {-2, -1, 0, 1, 2}
    # Where 0.2 of the side is less than a pixel, the centre stays.
    assert (affine._sample_crop(4)[1] == 0).all()


def test_without_annotations_and_of_tiny_images():
    np.random.seed(0)
    affine = BottomupShortSideAffine((64, 64), pad_val=3)
    for shape in ((2, 3, 3), (1, 1), (500, 2, 3)):
        results = affine(dict(img=np.full(shape, 3, np.uint8)))
        assert results['img'].shape == (64, 64, *shape[2:])
        assert (results['img'] == 3).all()
        assert results.keys() == {'img', 'input_size', 'warp_mat'}


def test_repeats_with_a_seed_and_leaves_its_input():
    affine = BottomupShortSideAffine((64, 64))

    def run(seed):
        results = make_results(50, 70)
        before = {key: np.copy(value) for key, value in results.items()}
        np.random.seed(seed)
        after = affine(results.copy())
        for key, value in before.items():
            np.testing.assert_array_equal(results[key], value)
        return after['img'].tobytes(), after['keypoints'].tobytes()

    assert [run(seed) for seed in range(5)] == [run(s) for s in range(5)]
    assert len({run(seed) for seed in range(5)}) == 5


def test_keeps_what_is_drawn():
    """In mmcv's cache, by which several images are changed alike."""
    np.random.seed(0)
    affine = BottomupShortSideAffine((64, 64))
    with cache_random_params(affine):
        first, second = (affine(make_results(90, 70)) for _ in range(2))
    np.testing.assert_array_equal(first['warp_mat'], second['warp_mat'])
    assert (
        affine(make_results(90, 70))['warp_mat'] != first['warp_mat']
    ).all()


@pytest.mark.parametrize('flip', [0.0, 1.0])
@pytest.mark.parametrize('seed', range(4))
def test_in_a_training_pipeline(flip, seed, make_spot, find_centre):
    """What is masked out, and where the joints are, shows in the image."""
    codec = dict(
        type='SPR',
        input_size=(128, 128),
        heatmap_size=(32, 32),
        sigma=(4, 2),
        generate_keypoint_heatmaps=True,
        minimal_diagonal_length=1,
    )
    pipeline = Compose(
        [
            dict(type='BottomupShortSideAffine', input_size=(128, 128)),
            dict(type='RandomFlip', prob=flip, direction='horizontal'),
            dict(type='GenerateTarget', encoder=codec),
            dict(type='BottomupGetHeatmapMask'),
        ]
    )
    np.random.seed(seed)
    results = make_results(160, 100, num=1)
    # A person in the left half of the image, a crowd in the right one.
    results['keypoints'] *= np.float32(0.3)
    results['keypoints'] += np.array([20, 30], np.float32)
    at = results['keypoints'][0, 5]
    img = np.zeros((100, 160, 3), np.float32)
    img[..., 0] = make_spot(160, 100, at, 3)
    img[..., 1] = 1
    img[40:, 90:, 1] = 0
    polygon = [90, 40, 160, 40, 160, 100, 90, 100]
    results.update(
        img=img,
        invalid_segs=[[polygon]],
        flip_indices=[1, 0, *range(2, 17)],
        dataset_keypoint_weights=np.ones(17),
    )
    after = pipeline(results)
    assert after['flip'] == bool(flip)
    # MMPose masks the padding, too.
    mask = cv2.resize(after['img'][..., 1], (32, 32)) > 0.5
    assert after['heatmap_mask'].shape == (32, 32)
    assert 0.1 < mask.mean() < 0.95
    assert (after['heatmap_mask'] != mask).mean() < 0.02
    found = find_centre(after['img'][..., 0])
    if (np.abs(found - 63.5) < 48).all():
        assert np.abs(found - after['keypoints'][0, 5]).max() < 1
        peak = after['heatmaps'][5].argmax()
        assert np.abs(np.divmod(peak, 32)[::-1] - found / 4).max() <= 1.1


def test_the_largest_images_of_opencv():
    affine = BottomupShortSideAffine((64, 64))
    assert affine(dict(img=np.full((1, 32766), 9, np.uint8)))['img'].any()
    with pytest.raises(ValueError, match=r'up to 32766 px .* 1 x 32767'):
        affine(dict(img=np.zeros((32767, 1), np.uint8)))


def test_arguments():
    assert repr(BottomupShortSideAffine(input_size=[512, 512])) == (
        'BottomupShortSideAffine(input_size=(512, 512), '
        'scale_factor=(0.75, 1.5), shift_factor=0.2, rotate_factor=30.0, '
        'pad_val=0)'
    )
    for argument, value, message in (
        ('input_size', (512, 384), r'be a square .* got \(512, 384\)'),
        ('scale_factor', (1.5, 0.75), r'got \(1\.5, 0\.75\)'),
        ('scale_factor', (0, 1), 'got 0'),
        ('shift_factor', -0.2, r'got -0\.2'),
        ('rotate_factor', -1, 'got -1'),
    ):
        kwargs = {'input_size': (64, 64), argument: value}
        with pytest.raises(ValueError, match=rf'^{argument}\b.* {message}'):
            BottomupShortSideAffine(**kwargs)
