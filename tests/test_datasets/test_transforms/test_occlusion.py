import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcv.transforms.utils import cache_random_params

from mmpose_ext.datasets.transforms import (
    BodyMasking,
    Cutout,
    KeypointMasking,
    occlusion,
)

ALL = [
    Cutout(prob=0.7, mark_occluded=True),
    Cutout(fill='noise'),
    BodyMasking(mark_occluded=True),
    BodyMasking(prob=1.0, fill='noise'),
    KeypointMasking(mark_occluded=True),
    KeypointMasking(prob=1.0, fill='background', num_keypoints=0.5, size=4),
]
seeds = st.integers(0, 2**31)


def make_results(height=48, width=36, seed=0):
    rng = np.random.default_rng(seed)
    return dict(
        img=rng.integers(1, 255, (height, width, 3), dtype=np.uint8),
        transformed_keypoints=rng.uniform(0, width, (2, 17, 2)),
        keypoints_visible=np.ones((2, 17), dtype=np.float32),
    )


@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    num_holes=st.integers(1, 4),
    size=st.sampled_from([0.5, (0.1, 0.9), 7, (1, 90), (1.0, 1.0)]),
)
def test_fills_squares_and_nothing_else(seed, height, width, num_holes, size):
    np.random.seed(seed)
    before = make_results(height, width)
    original = before['img'].copy()
    cutout = Cutout(num_holes=num_holes, size=size, fill=0)
    with cache_random_params(cutout):
        holes = cutout._sample_holes(height, width)
        after = cutout.transform(before)

    expected = original.copy()
    for x1, y1, x2, y2 in holes:
        assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height
        expected[y1:y2, x1:x2] = 0
    assert np.array_equal(after['img'], expected)
    assert (after['keypoints_visible'] == 1).all()


def test_sides_and_centres_are_drawn_from_their_ranges():
    np.random.seed(0)
    cutout = Cutout(num_holes=4000, size=(0.25, 0.5))
    x1, y1, x2, y2 = cutout._sample_holes(1000, 800).T
    inside = (x1 > 0) & (y1 > 0) & (x2 < 800) & (y2 < 1000)
    side = (x2 - x1)[inside]
    assert ((y2 - y1)[inside] == side).all()
    assert 200 <= side.min() < 210 and 390 < side.max() <= 400
    # The centre is uniform: holes of 300 reach over the border often.
    assert 0.25 < 1 - inside.mean() < 0.75


def test_a_pixel_size_is_exact_inside_the_image():
    np.random.seed(0)
    cutout = Cutout(num_holes=500, size=5)
    x1, y1, x2, y2 = cutout._sample_holes(99, 99).T
    inside = (x1 > 0) & (y1 > 0) & (x2 < 99) & (y2 < 99)
    assert ((x2 - x1)[inside] == 5).all() and ((y2 - y1)[inside] == 5).all()


@pytest.mark.parametrize(
    ('size', 'centre', 'hole'),
    [
        (10, (40, 10), (35, 5, 45, 15)),
        (10, (0, 0), (0, 0, 5, 5)),
        (10, (78, 35), (73, 30, 80, 40)),
        (10, (4.4, 2.16), (0, 0, 9, 7)),  # from -0.6 and -2.84, rounded
        (5, (40.7, 20.3), (38, 18, 43, 23)),  # from 38.2 and 17.8
        (0.25, (40, 10), (35, 5, 45, 15)),  # of the shorter side, 40
    ],
)
def test_holes_are_around_their_centres(size, centre, hole, monkeypatch):
    """In an image of 80 x 40 px, clipped at its border."""
    drawn = np.array([[0.5, centre[0] / 80, centre[1] / 40]])
    monkeypatch.setattr(np.random, 'rand', lambda *_: drawn)
    assert Cutout(size=size)._sample_holes(40, 80).tolist() == [[*hole]]


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
    found = occlusion.scale_draws(np.array(drawn), limits, whole)
    assert found.tolist() == expected


def test_an_image_is_changed_below_prob_alone(monkeypatch):
    cutout = Cutout(prob=0.25, fill=0, size=1.0)
    for drawn, changed in ((0.249, True), (0.25, False), (0.251, False)):
        monkeypatch.setattr(cutout, '_sample_holes', lambda *_: np.array(
            [[0, 0, 9, 9]]
        ))  # fmt: skip
        monkeypatch.setattr(np.random, 'rand', lambda drawn=drawn: drawn)
        assert (cutout(make_results())['img'] == 0).any() == changed


def test_what_is_always_changed_draws_nothing_for_it(monkeypatch):
    drawn = []

    def is_chosen():
        drawn.append(True)
        return True

    for transform, number in (
        (Cutout(), 0),
        (BodyMasking(prob=1.0), 0),
        (KeypointMasking(prob=1), 0),
        (Cutout(prob=0.99), 1),
    ):
        monkeypatch.setattr(transform, '_is_chosen', is_chosen)
        after = transform(make_results())
        assert (after['img'] != make_results()['img']).any()
        assert len(drawn) == number


@pytest.mark.parametrize('fill', [7, (1, 2, 3), 'mean', 'noise'])
def test_fill(fill):
    results = make_results()
    original = results['img']
    after = Cutout(size=1.0, num_holes=5, fill=fill)(results)['img']
    changed = (after != original).any(-1)
    assert changed.mean() > 0.5
    assert original is not after
    colours = after[changed]
    if fill == 'noise':
        assert len(np.unique(colours, axis=0)) > 100
    elif fill == 'mean':
        assert (colours == np.rint(original.mean((0, 1)))).all()
    else:
        assert (colours == fill).all()


def test_each_hole_has_its_own_noise():
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


@pytest.mark.parametrize('channels', [(), (1,), (3,), (4,), (5,), (6,)])
@pytest.mark.parametrize('fill', [200, 'mean', 'noise'])
@pytest.mark.parametrize('cls', [Cutout, BodyMasking, KeypointMasking])
def test_any_number_of_channels(cls, fill, channels):
    np.random.seed(0)
    results = make_results()
    rng = np.random.default_rng(0)
    img = rng.integers(1, 100, (48, 36, *channels), dtype=np.uint8)
    after = cls(prob=1.0, fill=fill)(dict(results, img=img))['img']
    changed = after != img
    assert after.shape == img.shape and changed.any()
    if fill == 200:
        assert (after[changed] == 200).all()
        if channels:
            assert (changed.all(-1) == changed.any(-1)).all()
    elif fill == 'mean':
        mean = np.broadcast_to(np.rint(img.mean((0, 1))), img.shape)
        np.testing.assert_array_equal(after[changed], mean[changed])


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


def test_what_is_drawn_is_shared_by_images_of_different_keypoints():
    """Of patches, the border cuts off more in the one than in the other."""
    np.random.seed(0)
    masking = KeypointMasking(1.0, 17, 9, fill='noise')
    original = make_results()
    with cache_random_params(masking):
        after = []
        for x in (0, 18):
            results = make_results()
            results['transformed_keypoints'] = np.full((2, 17, 2), float(x))
            after.append(masking.transform(results)['img'])
    sizes = [(img != original['img']).any(-1).sum() for img in after]
    assert sizes == [25, 81]


@pytest.mark.parametrize(
    'transform',
    [
        *(cls(prob=0.5) for cls in (Cutout, BodyMasking, KeypointMasking)),
        *ALL[1::2],
        KeypointMasking(prob=1.0, fill='noise'),
    ],
    ids=repr,
)
def test_all_that_is_drawn_can_be_kept(transform):
    """So that frames, say, are changed alike."""
    kept = set()
    for seed in range(6):
        np.random.seed(seed)
        with cache_random_params(transform):
            after = {
                transform(make_results())['img'].tobytes() for _ in range(8)
            }
        assert len(after) == 1
        kept |= after
    assert len(kept) > 2


def test_prob():
    np.random.seed(0)
    cutout = Cutout(prob=0.3, fill=0)
    changed = [(cutout(make_results())['img'] == 0).any() for _ in range(500)]
    assert 0.22 < np.mean(changed) < 0.38
    results = make_results()
    assert Cutout(prob=0)(results)['img'] is results['img']


@pytest.mark.parametrize('shape', [(1, 4), (1, 4, 2)])
@pytest.mark.parametrize('key', ['transformed_keypoints', 'keypoints'])
def test_mark_occluded(shape, key, monkeypatch):
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


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(size=0), 'size must be .* got 0'),
        (dict(size=1.5), r'got 1\.5'),
        (dict(size=(3, 0.5)), r'got \(3, 0\.5\)'),
        (dict(size=(0.5, 0.25)), r'got \(0\.5, 0\.25\)'),
        (dict(num_holes=0), 'num_holes .* got 0'),
        (dict(prob=1.2), r'prob .* got 1\.2'),
        (dict(fill='red'), "got 'red'"),
        (dict(fill='background'), "got 'background'"),
        (dict(fill=256), 'fill must be a colour .* got 256'),
        (dict(fill=None), 'fill must be a colour .* got None'),
        (dict(fill=(0, -1, 0)), r'got \(0, -1, 0\)'),
    ],
)
def test_refuses_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Cutout(**kwargs)


@pytest.mark.parametrize(
    ('cls', 'kwargs', 'message'),
    [
        (BodyMasking, dict(max_size=0), 'max_size must .* above 0, got 0'),
        (BodyMasking, dict(max_size=1.1), r'got 1\.1'),
        (BodyMasking, dict(prob=-1), 'prob .* got -1'),
        (BodyMasking, dict(fill='background'), "got 'background'"),
        (KeypointMasking, dict(num_keypoints=0), 'num_keypoints .* got 0'),
        (KeypointMasking, dict(num_keypoints=(2, 1)), r'got \(2, 1\)'),
        (KeypointMasking, dict(size=2.0), r'size .* got 2\.0'),
        (KeypointMasking, dict(fill='red'), "'background', got 'red'"),
    ],
)
def test_maskings_refuse_wrong_arguments(cls, kwargs, message):
    with pytest.raises(ValueError, match=message):
        cls(**kwargs)


@pytest.mark.parametrize('fill', [0, 255, (0, 255, 254.5), np.array([255])])
def test_all_colours_of_bytes_are_taken(fill):
    after = Cutout(size=1.0, fill=fill)(make_results(9, 9))['img']
    assert (after == np.trunc(fill)).all(-1).any()
    for wrong in (255.01, -0.01, (0, 0, 256), (-1, 0, 0)):
        with pytest.raises(ValueError, match='fill must be a colour'):
            Cutout(fill=wrong)


def test_repr_names_the_arguments():
    assert repr(Cutout(prob=0.5)) == (
        'Cutout(num_holes=1, size=(0.25, 0.5), fill=(104, 116, 124), '
        'prob=0.5, mark_occluded=False)'
    )
    assert repr(BodyMasking()) == (
        'BodyMasking(prob=0.5, max_size=0.3, fill=128, mark_occluded=False)'
    )
    assert repr(KeypointMasking(size=8)) == (
        'KeypointMasking(prob=0.5, num_keypoints=(1, 4), size=(8, 8), '
        'fill=128, mark_occluded=False)'
    )


@pytest.mark.parametrize(
    ('transform', 'shape'),
    [
        (transform, shape)
        for transform in ALL
        for shape in ((40, 30, 3), (33, 50), (20, 20, 1))
        # A colour of three channels is for images that have them.
        if transform.fill != (104, 116, 124) or shape[2:] == (3,)
    ],
    ids=repr,
)
def test_repeats_with_a_seed_and_leaves_its_input(transform, shape):
    def run(seed):
        results = make_results()
        rng = np.random.default_rng(1)
        results['img'] = rng.integers(1, 255, shape, dtype=np.uint8)
        before = {key: value.copy() for key, value in results.items()}
        np.random.seed(seed)
        after = transform(results.copy())
        for key, value in before.items():
            np.testing.assert_array_equal(results[key], value)
        assert after['img'].shape == shape and after['img'].dtype == np.uint8
        return after['img'].tobytes(), after['keypoints_visible'].tobytes()

    assert [run(seed) for seed in range(9)] == [run(s) for s in range(9)]
    assert len({run(seed) for seed in range(9)}) > 2


def test_a_colour_of_other_channels_is_refused():
    results = make_results()
    results['img'] = results['img'][..., :1]
    with pytest.raises(ValueError, match=r'fill has 3 channels .* has 1'):
        BodyMasking(prob=1.0, fill=(1, 2, 3))(results)


@given(
    seed=seeds,
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    max_size=st.sampled_from([0.01, 0.3, 0.7, 1.0]),
)
def test_body_masking_fills_the_hull_of_four_quadrants(
    seed, height, width, max_size
):
    np.random.seed(seed)
    original = make_results(height, width)
    masking = BodyMasking(prob=1.0, max_size=max_size, fill=0)
    with cache_random_params(masking):
        right_low, left_low, left_high, right_high = vertices = (
            masking._sample_vertices(height, width)
        )
        after = masking.transform(original.copy())['img']

    # Some pixel is strictly between all vertices, along both axes.
    left = max(left_low[0], left_high[0])
    right = min(right_low[0], right_high[0])
    top = max(left_high[1], right_high[1])
    bottom = min(left_low[1], right_low[1])
    assert right - left >= 2 and bottom - top >= 2
    limit = np.maximum(1, np.floor(max_size * np.array([width, height])))
    assert (np.ptp(vertices, axis=0) <= 2 * limit).all()

    changed = (after != original['img']).any(-1)
    y, x = np.indices(changed.shape)
    hull = cv2.convexHull(vertices.astype(np.int32))
    signed = np.vectorize(
        lambda x, y: cv2.pointPolygonTest(hull, (float(x), float(y)), True)
    )(x, y)
    # OpenCV draws the border too, and that beyond the image a bit off.
    assert changed[signed >= 0].all() and not changed[signed < -1.5].any()
    assert changed.sum() <= np.prod(2 * limit + 1)
    between = changed[max(top + 1, 0) : bottom, max(left + 1, 0) : right]
    assert between.all()
    assert (after[changed] == 0).all()
    assert (after[~changed] == original['img'][~changed]).all()


def test_body_masking_centres_are_uniform_in_the_middle_third():
    np.random.seed(0)
    masking = BodyMasking(max_size=1e-9)  # distances of one pixel
    vertices = [masking._sample_vertices(300, 600) for _ in range(4000)]
    x, y = np.mean(vertices, axis=1).T
    assert 200 <= x.min() < 202 and 398 <= x.max() < 400
    assert 100 <= y.min() < 102 and 198 <= y.max() < 200
    for values, low, length in ((x, 200, 200), (y, 100, 100)):
        counts = np.bincount(((values - low) // (length / 4)).astype(int))
        assert len(counts) == 4 and (np.abs(counts - 1000) < 150).all()
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.05


def test_body_masking_distances_are_uniform_from_one_pixel(monkeypatch):
    masking = BodyMasking()
    rand = np.random.rand

    def rand_with_one_centre(*shape):
        drawn = rand(*shape)
        drawn[0] = 0.5
        return drawn

    monkeypatch.setattr(np.random, 'rand', rand_with_one_centre)
    np.random.seed(0)
    vertices = np.array(
        [masking._sample_vertices(100, 200) for _ in range(2000)]
    )
    offset = vertices - (100, 50)
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    assert (np.sign(offset) == signs).all()
    distance = np.abs(offset)
    assert (distance.min((0, 1)) == 1).all()
    assert (distance.max((0, 1)) == (60, 30)).all()
    np.testing.assert_allclose(distance.mean((0, 1)), (30.5, 15.5), rtol=0.03)


@given(
    seed=seeds,
    transform=st.sampled_from(
        [*ALL[::2], BodyMasking(prob=1.0, fill='noise', mark_occluded=True)]
    ),
)
def test_marks_the_keypoints_on_changed_pixels(seed, transform):
    """A naive search, with keypoints in, on the border of and out of it."""
    np.random.seed(seed)
    results = make_results(30, 30, seed % 1000)
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
            if 0 <= x < 30 and 0 <= y < 30 and changed[y, x]:
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
def test_keypoints_that_are_no_numbers_are_not_covered(transform):
    np.random.seed(0)
    results = make_results()
    results['transformed_keypoints'][0, :5] = np.nan
    results['transformed_keypoints'][0, 5, 0] = np.nan
    results['transformed_keypoints'][0, 6] = -np.inf
    results['keypoints_visible'][0, 6] = 0
    visible = transform(results.copy())['keypoints_visible'][0]
    assert visible[:6].tolist() == [1] * 6
    assert not visible[7:].all()


def spread_results(key='keypoints'):
    """Two persons whose keypoints are far apart, some not to be covered."""
    x, y = np.meshgrid(np.arange(10, 100, 20), np.arange(10, 50, 20))
    first = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    keypoints = np.stack([first, first + np.array([0, 60])])
    keypoints[0, 0] = (-1, 10)  # outside
    keypoints[1, 9] = (90, 100)
    visible = np.ones((2, 10), np.float32)
    visible[0, 1] = 0
    return {
        'img': np.full((100, 100, 3), 7, np.uint8),
        key: keypoints + 0.2,
        'keypoints_visible': visible,
    }


@pytest.mark.parametrize('key', ['keypoints', 'transformed_keypoints'])
@pytest.mark.parametrize(
    ('number', 'allowed'),
    [(2, {2}), ((1, 3), {1, 2, 3}), (99, {8, 9}), (0.25, {2}), (1.0, {8, 9})],
)
def test_keypoint_masking_covers_so_many_of_each_person(key, number, allowed):
    masking = KeypointMasking(prob=1.0, num_keypoints=number, size=3)
    np.random.seed(0)
    times, seen = np.zeros((2, 10)), set()
    for _ in range(200):
        results = spread_results(key)
        changed = (masking(results)['img'] == 128).all(-1)
        xy = np.rint(results[key]).astype(int)
        inside = ((xy >= 0) & (xy < 100)).all(-1)
        covered = np.zeros((2, 10), bool)
        expected = np.zeros_like(changed)
        for person, k in zip(*np.nonzero(inside)):
            x, y = xy[person, k]
            covered[person, k] = changed[y, x]
            if changed[y, x]:
                expected[y - 1 : y + 2, x - 1 : x + 2] = True
        np.testing.assert_array_equal(changed, expected)
        times += covered
        seen |= set(covered.sum(1))
    assert seen == allowed
    never = [(0, 0), (0, 1), (1, 9)]
    assert all(times[at] == 0 for at in never)
    often = [times[i, j] for i, j in np.ndindex(2, 10) if (i, j) not in never]
    assert min(often) > 0.5 * max(often)


def test_keypoint_masking_patches_have_one_size_and_are_clipped():
    np.random.seed(0)
    keypoints = np.array([[[0.4, 0.4], [50, 50]]])
    sides = set()
    for _ in range(200):
        results = dict(
            img=np.zeros((60, 80, 3), np.uint8),
            keypoints=keypoints,
            keypoints_visible=np.ones((1, 2)),
        )
        masking = KeypointMasking(prob=1.0, num_keypoints=2, size=(0.1, 0.3))
        changed = (masking(results)['img'] == 128).all(-1)
        side = changed[50, 40:].sum()
        assert changed[30:, 50].sum() == side
        assert (
            changed[0, :30].sum()
            == changed[:30, 0].sum()
            == side - (side // 2)
        )
        sides.add(side)
    assert min(sides) == 6 and max(sides) == 18


@given(
    seed=seeds,
    side=st.integers(1, 12),
    number=st.integers(1, 3),
    persons=st.integers(0, 3),
)
def test_background_comes_from_clear_of_the_persons(
    seed, side, number, persons
):
    """Each pixel of the image has its own value, which tells its place."""
    np.random.seed(seed)
    height, width = 60, 50
    place = np.arange(height * width).reshape(height, width)
    img = np.stack([place // 256, place % 256, place * 0], -1).astype(np.uint8)
    corner = np.random.uniform(0, 30, (persons, 1, 2))
    keypoints = corner + np.random.uniform(0, 20, (persons, 6, 2))
    visible = np.random.randint(0, 2, (persons, 6)).astype(np.float32)
    masking = KeypointMasking(
        prob=1.0, num_keypoints=number, size=side, fill='background'
    )
    after = masking(
        dict(img=img, keypoints=keypoints, keypoints_visible=visible)
    )['img'].astype(int)

    source = after[..., 0] * 256 + after[..., 1]
    changed = source != place
    from_y, from_x = np.divmod(source[changed], width)
    xy = np.rint(keypoints)
    clear = np.ones((height, width), bool)
    points = clear.copy()
    for person in range(persons):
        own = xy[person][visible[person] > 0]
        if len(own):
            start = own.min(0).astype(int) - side // 2
            end = own.max(0).astype(int) - side // 2 + side
            start = start.clip(0)
            clear[start[1] : end[1], start[0] : end[0]] = False
        for u, v in own.astype(int) - side // 2:
            points[max(v, 0) : v + side, max(u, 0) : u + side] = False
    room = any(
        clear[v : v + side, u : u + side].all()
        for v in range(height - side + 1)
        for u in range(width - side + 1)
    )
    assert (clear if room else points)[from_y, from_x].all()
    labelled = visible.sum() > 0
    inside = ((xy >= 0) & (xy < (width, height))).all(-1)
    if room and (inside & (visible > 0)).any():
        assert changed.any()
    if not labelled:
        assert not changed.any()


def test_background_comes_from_all_free_places():
    """Patches of 2 x 2, and a person's in columns 3 to 5 and rows 2 to 7."""
    np.random.seed(0)
    img = np.arange(80, dtype=np.uint8).reshape(10, 8)
    results = dict(
        img=img,
        keypoints=np.array([[[4, 3], [5, 7.0]]]),
        keypoints_visible=np.ones((1, 2)),
    )
    masking = KeypointMasking(
        prob=1.0, num_keypoints=1, size=2, fill='background'
    )
    corners = set()
    for _ in range(900):
        after = masking(results.copy())['img']
        changed = after[after != img]
        if len(changed) == 4:
            corners.add(int(changed.min()))
    x, y = np.meshgrid(np.arange(7), np.arange(9))
    free = (x + 1 < 3) | (x > 5) | (y + 1 < 2) | (y > 7)
    assert corners == set((y * 8 + x)[free].tolist())


@pytest.mark.parametrize('in_vain', [False, True])
@pytest.mark.parametrize('number', [1, 3])
def test_background_places_are_uniform(number, in_vain, monkeypatch):
    """Also where no place that was tried is free, and all are searched."""
    np.random.seed(0)
    masking = KeypointMasking(fill='background')
    start = np.array([[[2, 2], [3, 4], [1e9, 0.0]], [[0, 9], [0, 9], [0, 9]]])
    labelled = np.array([[True, True, False], [True, False, False]])
    if in_vain:
        drawn = masking._sample_places(number)
        drawn[:2] = 0.4  # within the first person

        def sample_places(number):
            drawn[2] = np.random.rand(drawn.shape[1])
            return drawn

        monkeypatch.setattr(masking, '_sample_places', sample_places)
    counts = np.zeros((11, 9), int)
    runs = 9000 // number
    for _ in range(runs):
        x, y = masking._find_background(
            start, labelled, 2, np.array([10, 12]), number
        )
        np.add.at(counts, (y, x), 1)
    free = np.ones((11, 9), bool)
    free[1:6, 1:5] = False
    free[8:11, :2] = False
    assert (counts[~free] == 0).all() and counts.sum() == runs * number
    mean = counts.sum() / free.sum()
    assert (np.abs(counts[free] - mean) < 5 * np.sqrt(mean)).all()


def test_as_many_free_places_as_are_needed_are_enough(monkeypatch):
    """Two of those that were tried, in an image of 10 x 12 px."""
    masking = KeypointMasking(fill='background')
    start = np.array([[[2, 2], [3, 4]]])
    drawn = np.full((3, 24), 0.4)  # column 3, row 4: within the person
    drawn[:2, 5] = (0.8, 0.2)  # of 9 columns and 11 rows
    drawn[:2, 20] = (0.0, 0.95)
    monkeypatch.setattr(masking, '_sample_places', lambda _: drawn)
    places = masking._find_background(
        start, np.ones((1, 2), bool), 2, np.array([10, 12]), 2
    )
    assert places == [[7, 0], [2, 10]]


def test_background_is_needed():
    """A person who fills the image: clear of the keypoints, or nothing."""
    keypoints = np.array([[[0, 0], [19, 19], [0, 19], [19, 0.0]]])
    img = np.arange(400, dtype=np.uint8).reshape(20, 20)
    visible = np.ones((1, 4))
    results = dict(img=img, keypoints=keypoints, keypoints_visible=visible)
    masking = KeypointMasking(
        prob=1.0, num_keypoints=1, size=3, fill='background'
    )
    after = masking(results.copy())['img']
    assert 0 < (after != img).sum() <= 4
    masking = KeypointMasking(
        prob=1.0, size=20, fill='background', mark_occluded=True
    )
    after = masking(results.copy())
    np.testing.assert_array_equal(after['img'], img)
    np.testing.assert_array_equal(after['keypoints_visible'], visible)


@pytest.mark.parametrize('persons', [0, 1])
@pytest.mark.parametrize('fill', [128, 'background'])
def test_nobody_to_cover(persons, fill):
    img = make_results()['img']
    results = dict(
        img=img,
        keypoints=np.full((persons, 5, 2), 10.0),
        keypoints_visible=np.zeros((persons, 5, 2), np.float32),
    )
    masking = KeypointMasking(prob=1.0, fill=fill, mark_occluded=True)
    np.testing.assert_array_equal(masking(results)['img'], img)
