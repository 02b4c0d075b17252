import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpose_ext.datasets.transforms import KeypointMasking


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
def test_covers_so_many_of_each_person(key, number, allowed):
    masking = KeypointMasking(1.0, number, size=3, mark_occluded=True)
    np.random.seed(0)
    times, seen = np.zeros((2, 10)), set()
    for _ in range(200):
        results = spread_results(key)
        before = results['keypoints_visible']
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
        visible = results['keypoints_visible']
        np.testing.assert_array_equal(visible, before * ~covered)
        times += covered
        seen |= set(covered.sum(1))
    assert seen == allowed
    never = [(0, 0), (0, 1), (1, 9)]
    assert all(times[at] == 0 for at in never)
    often = [times[i, j] for i, j in np.ndindex(2, 10) if (i, j) not in never]
    assert min(often) > 0.5 * max(often)


def test_patches_have_one_size_and_are_clipped():
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
    seed=st.integers(0, 2**31),
    side=st.integers(1, 12),
    number=st.integers(1, 3),
    persons=st.integers(0, 3),
)
def test_background_comes_from_clear_of_the_persons(
    seed, side, number, persons
):
    """The value of each pixel is its place."""
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
def test_no_keypoints_to_cover(persons, fill):
    img = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    results = dict(
        img=img,
        keypoints=np.full((persons, 5, 2), 4.0),
        keypoints_visible=np.zeros((persons, 5, 2), np.float32),
    )
    masking = KeypointMasking(prob=1.0, fill=fill, mark_occluded=True)
    np.testing.assert_array_equal(masking(results)['img'], img)


def test_defaults():
    assert repr(KeypointMasking()) == (
        'KeypointMasking(prob=0.5, num_keypoints=(1, 4), size=(0.05, 0.15), '
        'fill=128, mark_occluded=False)'
    )
