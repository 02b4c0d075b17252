import pytest
import torch
from mmcv.cnn import ConvModule
from torch.testing import assert_close

from mmpose_ext.models.layers import AttentiveNorm2d


def make_norm(channels=3, num_affines=4, **kwargs):
    torch.manual_seed(0)
    norm = AttentiveNorm2d(channels, num_affines, **kwargs).double()
    norm.norm.running_mean.normal_()
    norm.norm.running_var.uniform_(0.5, 2)
    return norm


def reference(norm, x, mean, var):
    """One number after the other."""
    out = torch.empty_like(x)
    count = x[0, 0].numel()
    for i, sample in enumerate(x):
        q = []
        for plane in sample:
            m = plane.sum() / count
            v = ((plane - m) ** 2).sum() / (count - 1)
            q.append(m / (v + 1e-3) ** 0.5)
        weights = []
        for row in norm.mixing.weight.flatten(1):
            logit = sum(a * b for a, b in zip(row, q))
            weights.append(min(max(logit + 3, 0), 6) / 6)
        for c, plane in enumerate(sample):
            z = (plane - mean[c]) / (var[c] + 1e-5) ** 0.5
            scale = sum(w * g[c] for w, g in zip(weights, norm.gamma))
            shift = sum(w * b[c] for w, b in zip(weights, norm.beta))
            out[i, c] = scale * z + shift
    return out


def test_equals_the_equations():
    norm = make_norm().eval()
    x = 3 * torch.randn(2, 3, 4, 5, dtype=torch.double) + 1
    expected = reference(
        norm, x, norm.norm.running_mean, norm.norm.running_var
    )
    assert_close(norm(x), expected)


def test_training_takes_the_batch_statistics_for_z_only():
    norm = make_norm(momentum=0.1)
    x = torch.randn(3, 3, 4, 4, dtype=torch.double)
    mean, before = x.mean(dim=(0, 2, 3)), norm.norm.running_mean.clone()
    var = x.var(dim=(0, 2, 3), unbiased=False)
    assert_close(norm(x), reference(norm, x, mean, var))
    assert_close(norm.norm.running_mean, 0.9 * before + 0.1 * mean)


def test_a_sample_does_not_depend_on_its_batch():
    norm = make_norm().eval()
    x = torch.randn(4, 3, 5, 5, dtype=torch.double)
    assert_close(norm(x)[2:3], norm(x[2:3]))


def test_gradients():
    norm = make_norm(2, 3)
    x = torch.randn(2, 2, 3, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x,))


def test_initial_gain_is_about_half_the_number_of_pairs():
    torch.manual_seed(0)
    norm = AttentiveNorm2d(64).eval()
    assert 9 < norm(torch.randn(8, 64, 11, 11)).std() < 11
    # Kaiming's normal with fan out: the number of pairs.
    assert abs(norm.mixing.weight.std() - (2 / 20) ** 0.5) < 0.03


def test_in_a_norm_cfg():
    conv = ConvModule(
        3, 5, 3, norm_cfg=dict(type='AttentiveNorm2d', num_affines=2)
    )
    assert isinstance(conv.norm, AttentiveNorm2d)
    assert conv(torch.randn(2, 3, 6, 6)).shape == (2, 5, 4, 4)


def test_errors():
    for name, value in (
        *(('num_features', 0), ('num_affines', 0), ('eps', 0.0)),
        *(('momentum', -0.1), ('momentum', 1.1)),
    ):
        with pytest.raises(ValueError, match=f'{name} must be .* got {value}'):
            AttentiveNorm2d(**{'num_features': 3, name: value})
    with pytest.raises(ValueError, match=r'one cell: \(1, 3, 1, 1\)'):
        make_norm()(torch.zeros(1, 3, 1, 1, dtype=torch.double))


def test_defaults_and_start():
    norm = AttentiveNorm2d(4000)
    names = {name for name, _ in norm.named_parameters()}
    assert names == {'mixing.weight', 'gamma', 'beta'}
    assert norm.mixing.weight.shape == (20, 4000, 1, 1)
    assert (norm.norm.eps, norm.norm.momentum) == (1e-5, 0.1)
    for pairs, mean in ((norm.gamma, 1), (norm.beta, 0)):
        assert pairs.mean().item() == pytest.approx(mean, abs=0.003)
        assert pairs.std().item() == pytest.approx(0.1, rel=0.02)


def test_two_cells_have_a_variance():
    """Of 0 and 2: mean 1, variance 2; and q = 1 / sqrt(2.001)."""
    norm = AttentiveNorm2d(1, num_affines=1).eval()
    with torch.no_grad():
        norm.mixing.weight.fill_(6)
        norm.gamma.fill_(3)
        norm.beta.fill_(5)
    x = torch.tensor([0.0, 2]).view(1, 1, 1, 2)
    # relu6(6 q + 3) = 6 is the highest weight, 1, and 3 z + 5 the result.
    scale = 3 / (1 + 1e-5) ** 0.5
    expected = torch.tensor([5.0, 5 + 2 * scale]).view(1, 1, 1, 2)
    assert_close(norm(x), expected)
    assert_close(norm(x.mT), expected.mT)
