import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcv.transforms.utils import cache_random_params
from scipy.stats import kstest, norm

from mmpose_ext.datasets.transforms import ClippedBBoxTransform

NUMBER = 40_000


def draw(seed=0, number=NUMBER, **kwargs):
    """Shifts and scales (N, 2), angles (N,) for boxes of 100 x 200 px."""
    np.random.seed(seed)
    results = dict(
        bbox_center=np.full((number, 2), 50.0),
        bbox_scale=np.tile([100.0, 200.0], (number, 1)),
    )
    after = ClippedBBoxTransform(**kwargs)(results)
    size = np.array([100, 200])
    return (
        (after['bbox_center'] - 50) / size,
        after['bbox_scale'] / size,
        after['bbox_rotation'],
    )


def clipped_std(limit):
    """Of a standard normal variable that is clipped at +-limit.

    The integral of z^2 over its inside, by parts, and limit^2 for the rest.
    """
    inside = norm.cdf(limit) - norm.cdf(-limit) - 2 * limit * norm.pdf(limit)
    return (inside + limit**2 * 2 * norm.sf(limit)) ** 0.5


def close(values, mean, std):
    """Whether both moments are, within five of their standard errors."""
    error = 5 * std / len(values) ** 0.5
    assert abs(values.mean() - mean) < error
    assert abs(values.std() - std) < 2 * error


def assert_share(condition, share):
    error = (share * (1 - share) / len(condition)) ** 0.5
    assert abs(condition.mean() - share) < 5 * error


def test_what_hrnet_draws():
    """clip(1 + 0.35 z, 0.65, 1.35), and clip(45 z, -90, 90) or 0."""
    shift, scale, angle = draw()
    assert (shift == 0).all()
    assert (scale[:, 0] == scale[:, 1]).all()
    factor = scale[:, 0]
    assert factor.min() == pytest.approx(0.65)
    assert factor.max() == pytest.approx(1.35)
    close(factor, 1, 0.35 * clipped_std(1))
    assert 0.35 * clipped_std(1) == pytest.approx(0.2514, abs=1e-4)
    # Each end has what a normal distribution has beyond one deviation.
    for end in (0.65, 1.35):
        assert_share(np.isclose(factor, end), norm.sf(1))
    inside = factor[(factor > 0.651) & (factor < 1.349)]
    low, high = norm.cdf([-0.997, 0.997])
    uniform = (norm.cdf((inside - 1) / 0.35) - low) / (high - low)
    assert kstest(uniform, 'uniform').pvalue > 1e-4

    turned = angle[angle != 0]
    assert_share(angle != 0, 0.6)
    assert turned.min() == -90 and turned.max() == 90
    close(turned, 0, 45 * clipped_std(2))
    assert 45 * clipped_std(2) == pytest.approx(43.18, abs=0.01)
    for end in (-90, 90):
        assert_share(turned == end, norm.sf(2))
    inside = turned[abs(turned) < 90]
    low, high = norm.cdf([-2, 2])
    uniform = (norm.cdf(inside / 45) - low) / (high - low)
    assert kstest(uniform, 'uniform').pvalue > 1e-4
    assert abs(np.corrcoef(factor, angle)[0, 1]) < 0.03


def test_other_arguments():
    shift, scale, angle = draw(
        shift_factor=0.1,
        shift_prob=0.25,
        scale_factor=(0.5, 1.1),
        scale_prob=0.5,
        rotate_factor=10,
        rotate_prob=1,
    )
    shifted = shift[(shift != 0).any(1)]
    assert_share((shift != 0).any(1), 0.25)
    assert abs(shifted).max() == pytest.approx(0.1)
    for axis in (0, 1):
        close(shifted[:, axis], 0, 0.1 * clipped_std(1))
    assert abs(np.corrcoef(shifted.T)[0, 1]) < 0.06
    assert_share(scale[:, 0] != 1, 0.5)
    changed = scale[scale[:, 0] != 1, 0]
    close(changed, 0.8, 0.3 * clipped_std(1))
    assert abs(angle).max() == 20
    close(angle, 0, 10 * clipped_std(2))


@given(
    seed=st.integers(0, 2**31),
    number=st.integers(0, 4),
    scale=st.tuples(st.floats(0.1, 1), st.floats(0, 2)),
    rotate=st.floats(0, 180),
    shift=st.floats(0, 1),
)
def test_nothing_is_beyond_the_limits(seed, number, scale, rotate, shift):
    low, high = scale[0], sum(scale)
    offset, factor, angle = draw(
        seed,
        number,
        shift_factor=shift,
        shift_prob=0.5,
        scale_factor=(low, high),
        rotate_factor=rotate,
        rotate_prob=0.9,
    )
    assert offset.shape == factor.shape == (number, 2)
    assert angle.shape == (number,)
    assert (abs(offset) <= shift + 1e-6).all()
    assert (factor >= low - 1e-6).all() and (factor <= high + 1e-6).all()
    assert (abs(angle) <= 2 * rotate * (1 + 1e-6)).all()


def test_a_seed_repeats_it():
    for first, second in zip(draw(3, 9), draw(3, 9)):
        np.testing.assert_array_equal(first, second)
    assert (draw(3, 9)[2] != draw(4, 9)[2]).any()
    assert (draw(3, 9)[1] != draw(4, 9)[1]).any()


def test_what_is_drawn_can_be_kept():
    """mmcv's cache, by which several images are changed alike."""
    transform = ClippedBBoxTransform()
    with cache_random_params(transform):
        first, second = (
            transform(
                dict(bbox_center=np.ones((3, 2)), bbox_scale=np.ones((3, 2)))
            )
            for _ in range(2)
        )
    np.testing.assert_array_equal(first['bbox_scale'], second['bbox_scale'])
    assert len(set(first['bbox_scale'][:, 0])) > 1


def test_arguments():
    assert repr(ClippedBBoxTransform(scale_factor=[0.7, 1.3])) == (
        'ClippedBBoxTransform(shift_prob=0.0, shift_factor=0.16, '
        'scale_prob=1.0, scale_factor=(0.7, 1.3), rotate_prob=0.6, '
        'rotate_factor=45.0)'
    )
    for argument, wrong in (
        *(('shift_factor', -0.1), ('shift_prob', 1.5), ('scale_prob', None)),
        *(('rotate_factor', float('nan')), ('rotate_prob', 'often')),
        *(('scale_factor', 0.35), ('scale_factor', (0, 1))),
        ('scale_factor', (1.3, 0.7)),
    ):
        with pytest.raises(ValueError, match=rf'^{argument}\b.* got '):
            ClippedBBoxTransform(**{argument: wrong})
