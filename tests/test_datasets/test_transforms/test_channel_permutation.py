from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcv.transforms.utils import cache_random_params

from mmpose_ext.datasets.transforms import ChannelPermutation


def make_image(channels=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (7, 5, channels), dtype=np.uint8)


@given(seed=st.integers(0, 2**31), channels=st.integers(1, 6))
def test_each_channel_occurs_once(seed, channels):
    np.random.seed(seed)
    img = make_image(channels)
    before = img.copy()
    after = ChannelPermutation(prob=1.0)(dict(img=img))['img']
    np.testing.assert_array_equal(img, before)
    # Where nothing changes, nothing is copied.
    assert np.shares_memory(img, after) == np.array_equal(img, after)
    assert after.flags['C_CONTIGUOUS'] and after.dtype == img.dtype
    assert Counter(c.tobytes() for c in np.moveaxis(after, 2, 0)) == Counter(
        c.tobytes() for c in np.moveaxis(img, 2, 0)
    )


def test_permutations_are_equally_likely():
    np.random.seed(0)
    permute = ChannelPermutation(prob=0.5)
    img = np.array([[[1, 2, 3]]], np.uint8)
    counts = Counter(
        tuple(permute(dict(img=img))['img'][0, 0]) for _ in range(6000)
    )
    assert len(counts) == 6
    unchanged = counts.pop((1, 2, 3))
    assert abs(unchanged - 3500) < 200
    assert all(abs(count - 500) < 100 for count in counts.values())


def test_a_permutation_is_drawn_below_prob_alone(monkeypatch):
    permute = ChannelPermutation(prob=0.25)
    monkeypatch.setattr(np.random, 'permutation', lambda _: [2, 0, 1])
    for drawn, order in ((0.249, [2, 0, 1]), (0.25, [0, 1, 2])):
        monkeypatch.setattr(np.random, 'rand', lambda drawn=drawn: drawn)
        assert list(permute._sample_order(3)) == order


def test_repeats_with_a_seed():
    def run():
        np.random.seed(3)
        permute = ChannelPermutation()
        return [permute(dict(img=make_image()))['img'] for _ in range(9)]

    np.testing.assert_array_equal(run(), run())


def test_what_is_drawn_can_be_kept():
    """mmcv's cache, by which several images are changed alike."""
    np.random.seed(0)
    permute = ChannelPermutation(prob=1.0)
    with cache_random_params(permute):
        found = [permute(dict(img=make_image()))['img'] for _ in range(20)]
    assert len({img.tobytes() for img in found}) == 1


def test_what_stays_as_it_is():
    img = make_image()
    after = ChannelPermutation(prob=0)(dict(img=img))['img']
    np.testing.assert_array_equal(after, img)
    grey = img[..., 0]
    assert ChannelPermutation(prob=1.0)(dict(img=grey))['img'] is grey


@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.int64])
@pytest.mark.parametrize('view', [np.s_[:], np.s_[::-1, ::-1], np.s_[2:5]])
def test_any_image(dtype, view, monkeypatch):
    permute = ChannelPermutation()
    order = np.array([2, 0, 1])
    monkeypatch.setattr(permute, '_sample_order', lambda _: order)
    img = make_image().astype(dtype)[view]
    after = permute(dict(img=img))['img']
    assert after.dtype == dtype and after.flags['C_CONTIGUOUS']
    np.testing.assert_array_equal(after, img[..., order])


def test_arguments():
    assert repr(ChannelPermutation()) == 'ChannelPermutation(prob=0.5)'
    with pytest.raises(ValueError, match=r'prob .* got 1\.5'):
        ChannelPermutation(prob=1.5)
