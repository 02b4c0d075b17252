import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcv.transforms.utils import cache_random_params

from mmpose_ext.datasets.transforms import Cutout


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
    ],
)
def test_refuses_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Cutout(**kwargs)


def test_repr_names_the_arguments():
    assert repr(Cutout(prob=0.5)) == (
        'Cutout(num_holes=1, size=(0.25, 0.5), fill=(104, 116, 124), '
        'prob=0.5, mark_occluded=False)'
    )
