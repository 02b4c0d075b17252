import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcv.transforms.utils import cache_random_params

from mmpose_ext.datasets.transforms import (
    BodyMasking,
    Cutout,
    KeypointMasking,
)
from mmpose_ext.datasets.transforms.occlusion import scale_draws

CLASSES = (Cutout, BodyMasking, KeypointMasking)
ALL = [
    Cutout(prob=0.7, mark_occluded=True),
    Cutout(fill='noise'),
    BodyMasking(mark_occluded=True),
    BodyMasking(prob=1.0, fill='noise'),
    KeypointMasking(mark_occluded=True),
    KeypointMasking(prob=1.0, fill='background', num_keypoints=0.5, size=4),
]


@pytest.mark.parametrize(
    ('limits', 'whole', 'drawn', 'expected'),
    [
        ((2, 5), 99, [0, 0.24, 0.26, 0.5, 0.999], [2, 2, 3, 4, 5]),
        ((3, 3), 99, [0, 0.999], [3, 3]),
        ((0.25, 0.75), 10, [0.02, 0.5, 0.98], [3, 5, 7]),  # 2.6, 5, 7.4
        ((0.01, 0.01), 10, [0.5], [1]),
        ((1.0, 1.0), 7, [0, 0.9], [7, 7]),
    ],
)
def test_amounts_from_draws(limits, whole, drawn, expected):
    assert scale_draws(np.array(drawn), limits, whole).tolist() == expected


def test_an_image_is_changed_below_prob_alone(make_results, monkeypatch):
    cutout = Cutout(num_holes=9, prob=0.25, fill=0)
    for drawn in (0.249, 0.25, 0.251):
        monkeypatch.setattr(
            np.random,
            'rand',
            lambda *shape, drawn=drawn: (
                np.full(shape, 0.5) if shape else drawn
            ),
        )
        results = make_results()
        assert (cutout(results)['img'] == 0).any() == (drawn < 0.25)


def test_what_is_always_changed_draws_nothing_for_it(
    make_results, monkeypatch
):
    drawn = []
    for transform, number in (
        (Cutout(), 0),
        (BodyMasking(prob=1.0), 0),
        (KeypointMasking(prob=1), 0),
        (Cutout(prob=0.99), 1),
    ):
        monkeypatch.setattr(
            transform, '_is_chosen', lambda: drawn.append(1) or True
        )
        after = transform(make_results())
        assert (after['img'] != make_results()['img']).any()
        assert len(drawn) == number


@pytest.mark.parametrize('fill', [200, (101, 102, 103), 'mean', 'noise'])
@pytest.mark.parametrize('cls', CLASSES)
def test_fills_images_of_any_number_of_channels(cls, fill, make_results):
    np.random.seed(0)
    transform = cls(prob=1.0, fill=fill)
    for channels in ((), (1,), (3,), (4,), (5,), (6,)):
        shape = (48, 36, *channels)
        img = np.random.randint(1, 100, shape, dtype=np.uint8)
        results = dict(make_results(), img=img)
        if isinstance(fill, tuple) and channels != (3,):
            with pytest.raises(
                ValueError, match=r'fill has 3 channels .* has'
            ):
                transform(results)
            continue
        after = transform(results)['img']
        changed = after != img
        assert after.shape == shape and changed.any()
        if fill == 'noise':
            assert len(np.unique(after[changed])) > 20
            continue
        if fill == 'mean':
            colour = np.rint(img.mean((0, 1)))
        else:
            colour = np.array(fill)
            assert (changed.all(-1) == changed.any(-1)).all() or not channels
        colour = np.broadcast_to(colour, shape)
        np.testing.assert_array_equal(after[changed], colour[changed])


def test_each_hole_has_its_own_noise(make_results):
    """Also where what is drawn is kept, for several images of one size."""
    np.random.seed(0)
    cutout = Cutout(num_holes=3, size=(5, 30), fill='noise')
    with cache_random_params(cutout):
        holes = cutout._sample_holes(48, 36)
        first, again = (cutout.transform(make_results()) for _ in range(2))
    np.testing.assert_array_equal(first['img'], again['img'])
    changed = (first['img'] != make_results()['img']).any(-1)
    noise = [first['img'][y1:y2, x1:x2] for x1, y1, x2, y2 in holes]
    area = np.zeros((48, 36), bool)
    for x1, y1, x2, y2 in holes:
        area[y1:y2, x1:x2] = True
    assert not changed[~area].any() and changed[area].mean() > 0.99
    assert len({patch[:3, :3].tobytes() for patch in noise}) == 3


@pytest.mark.parametrize('size', [0, 1, 8, 200_003])
def test_noise_is_uniform(size):
    np.random.seed(0)
    cutout = Cutout(fill='noise')
    noise = cutout._make_noise(size)
    assert noise.shape == (size,) and noise.dtype == np.uint8
    if size > 8:
        assert (cutout._make_noise(size) != noise).mean() > 0.99
        counts = np.bincount(noise, minlength=256)
        assert np.abs(counts - size / 256).max() < 5 * np.sqrt(size / 256)
        assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.01


def test_what_is_drawn_is_shared_by_images_of_different_keypoints(
    make_results,
):
    """Of patches, the border cuts off more in the one than in the other."""
    np.random.seed(0)
    masking = KeypointMasking(1.0, 17, 9, fill='noise')
    sizes = []
    with cache_random_params(masking):
        for x in (0, 18):
            results = make_results()
            before = results['img']
            results['transformed_keypoints'] = np.full((2, 17, 2), float(x))
            after = masking.transform(results)['img']
            sizes.append((after != before).any(-1).sum())
    assert sizes == [25, 81]


@pytest.mark.parametrize(
    'transform',
    [
        *(cls(prob=0.5) for cls in CLASSES),
        *ALL[1::2],
        KeypointMasking(prob=1.0, fill='noise'),
    ],
    ids=repr,
)
def test_all_that_is_drawn_can_be_kept(transform, make_results):
    """So that frames, say, are changed alike."""
    kept = set()
    for seed in range(6):
        np.random.seed(seed)
        with cache_random_params(transform):
            after = {
                transform(make_results())['img'].tobytes() for _ in range(4)
            }
        assert len(after) == 1
        kept |= after
    assert len(kept) > 2


@pytest.mark.parametrize('shape', [(1, 4), (1, 4, 2)])
@pytest.mark.parametrize('key', ['transformed_keypoints', 'keypoints'])
def test_mark_occluded(shape, key, make_results, monkeypatch):
    cutout = Cutout(mark_occluded=True)
    holes = np.array([[10, 10, 20, 20], [18, 18, 30, 30]])
    monkeypatch.setattr(cutout, '_sample_holes', lambda *_: holes)
    results = make_results()
    del results['transformed_keypoints']
    # inside the first, just outside, inside the second only, outside
    results[key] = np.array(
        [[[10.0, 19.4], [19.6, 9.4], [29.4, 29.4], [35, 12]]]
    )
    visible = np.ones(shape, dtype=np.float32)
    results['keypoints_visible'] = visible
    after = cutout(results)['keypoints_visible']
    assert (visible == 1).all()
    if len(shape) == 3:
        assert (after[..., 1] == 1).all()
        after = after[..., 0]
    assert after.tolist() == [[0, 1, 0, 1]]


def test_refuses_wrong_arguments():
    for cls, argument, value, message in (
        (Cutout, 'size', 1.5, r'\(0, 1\], or a range of one of them, got 1.5'),
        (Cutout, 'size', (3, 0.5), r'positive pixels .* got \(3, 0\.5\)'),
        (Cutout, 'size', (0.5, 0.25), r'got \(0\.5, 0\.25\)'),
        (KeypointMasking, 'num_keypoints', (2, 1), r'numbers .* got \(2, 1\)'),
        (KeypointMasking, 'size', 2.0, r'got 2\.0'),
        (KeypointMasking, 'fill', 'red', "'background', got 'red'"),
        (BodyMasking, 'fill', 'background', "'noise', got 'background'"),
        (Cutout, 'mark_occluded', 2, 'got 2'),
        (Cutout, 'prob', 1.2, r'got 1\.2'),
    ):
        with pytest.raises(ValueError, match=rf'^{argument} must .*{message}'):
            cls(**{argument: value})


def test_all_colours_of_bytes_are_taken(make_results):
    for fill in (0, 255, (0, 255, 254.5), np.array([255])):
        after = Cutout(size=1.0, fill=fill)(make_results(9, 9))['img']
        assert (after == np.trunc(fill)).all(-1).any()
    for wrong in (255.01, -0.01, (0, 0, 256), (-1, 0, 0), None, (), {}, 1j):
        with pytest.raises(ValueError, match=r'fill must be a colour .* got '):
            Cutout(fill=wrong)


def test_repr_names_the_arguments():
    assert repr(KeypointMasking(size=8)) == (
        'KeypointMasking(prob=0.5, num_keypoints=(1, 4), size=(8, 8), '
        'fill=128, mark_occluded=False)'
    )


@pytest.mark.parametrize('transform', ALL, ids=repr)
def test_repeats_with_a_seed_and_leaves_its_input(transform, make_results):
    def run(seed, shape):
        img = np.random.default_rng(1).integers(1, 255, shape, dtype=np.uint8)
        results = dict(make_results(), img=img)
        before = {key: value.copy() for key, value in results.items()}
        np.random.seed(seed)
        after = transform(results.copy())
        for key, value in before.items():
            np.testing.assert_array_equal(results[key], value)
        assert after['img'].shape == shape and after['img'].dtype == np.uint8
        return after['img'].tobytes(), after['keypoints_visible'].tobytes()

    for shape in ((40, 30, 3), (33, 50), (20, 20, 1)):
        if isinstance(transform.fill, tuple) and shape[2:] != (3,):
            continue
        runs = [run(seed, shape) for seed in range(9)]
        assert runs == [run(seed, shape) for seed in range(9)]
        assert len(set(runs)) > 2


@given(
    seed=st.integers(0, 2**31),
    transform=st.sampled_from(
        [*ALL[::2], BodyMasking(prob=1.0, fill='noise', mark_occluded=True)]
    ),
)
def test_marks_the_keypoints_on_changed_pixels(make_results, seed, transform):
    """A naive search, with keypoints in, on the border of and out of it."""
    np.random.seed(seed)
    results = make_results(30, 24, seed % 1000)
    rng = np.random.default_rng(seed)
    results['transformed_keypoints'] = rng.uniform(-8, 38, (2, 17, 2))
    results['keypoints_visible'][0, :3] = 0
    original = results['img'] % 100
    results['img'] = original.copy()
    visible = results['keypoints_visible'].copy()
    after = transform(results)
    changed = (after['img'] != original).any(-1)  # fills are above 100
    for person, keypoints in enumerate(after['transformed_keypoints']):
        for k, (x, y) in enumerate(np.rint(keypoints).astype(int)):
            if 0 <= x < 24 and 0 <= y < 30 and changed[y, x]:
                visible[person, k] = 0
    np.testing.assert_array_equal(after['keypoints_visible'], visible)


@pytest.mark.parametrize(
    'transform',
    [
        Cutout(size=1.0, num_holes=9, mark_occluded=True),
        BodyMasking(1.0, max_size=1.0, mark_occluded=True),
        KeypointMasking(1.0, 17, 9, mark_occluded=True),
    ],
    ids=repr,
)
def test_keypoints_that_are_no_numbers_are_not_covered(
    transform, make_results
):
    np.random.seed(0)
    results = make_results()
    results['transformed_keypoints'][0, :5] = np.nan
    results['transformed_keypoints'][0, 5, 0] = np.nan
    results['transformed_keypoints'][0, 6] = -np.inf
    results['keypoints_visible'][0, 6] = 0
    visible = transform(results)['keypoints_visible'][0]
    assert visible[:6].tolist() == [1] * 6
    assert not visible[7:].all()
