"""Layers by torch's functions alone, to compare modules with."""

import pytest
import torch
from torch.nn import functional as F


@pytest.fixture
def plain_conv():
    """Convolution, norm if it has one, and ReLU, from a state dict."""

    def conv(x, state, name, relu=True, **kwargs):
        weight = state[f'{name}.conv.weight']
        x = F.conv2d(x, weight, state.get(f'{name}.conv.bias'), **kwargs)
        if f'{name}.bn.weight' in state:
            mean, var, scale, shift = (
                state[f'{name}.bn.{key}'].view(1, -1, 1, 1)
                for key in ('running_mean', 'running_var', 'weight', 'bias')
            )
            x = (x - mean) / torch.sqrt(var + 1e-5) * scale + shift
        return x.clamp(min=0) if relu else x

    return conv


@pytest.fixture
def randomise():
    """Give all weights and statistics different random values.

    The module is left in double precision and in evaluation mode.
    """

    def randomise(module):
        torch.manual_seed(0)
        for name, value in module.state_dict().items():
            if value.dim() > 1:
                torch.nn.init.kaiming_normal_(value)
            elif name.endswith(('running_var', 'bn.weight')):
                torch.nn.init.uniform_(value, 0.5, 2)
            elif value.is_floating_point():
                torch.nn.init.normal_(value, std=0.3)
        return module.double().eval()

    return randomise


@pytest.fixture
def upsample():
    """Cells are areas: the outer edges of both maps coincide."""

    def upsample(x, size):
        return F.interpolate(x, size, mode='bilinear', align_corners=False)

    x = torch.tensor([0.0, 4.0]).view(1, 1, 1, 2)
    assert upsample(x, (1, 4)).flatten().tolist() == [0, 1, 3, 4]
    return upsample


@pytest.fixture
def assert_learns():
    """Check that gradients reach the input and every parameter."""

    def check(module, *inputs):
        inputs = [x.requires_grad_() for x in inputs]
        module(*inputs).square().sum().backward()
        for name, x in (*module.named_parameters(), *enumerate(inputs)):
            assert x.grad.abs().max() > 0, name

    return check


@pytest.fixture
def seen_cells():
    """Cells of a (size, size) map that the centre cell depends on."""

    def seen(module, size):
        for parameter in module.parameters():
            torch.nn.init.constant_(parameter, 0.1)
        x = torch.ones(1, 2, size, size, requires_grad=True)
        module.eval()(x)[..., size // 2, size // 2].sum().backward()
        return x.grad.abs().sum((0, 1)) > 0

    return seen


@pytest.fixture
def count_costs():
    """Parameters and multiply-adds of a module, on a map of a shape."""
    from mmpose_ext.analysis import count_complexity

    def count(make, *shape):
        with torch.device('meta'):
            module, x = make().eval(), torch.empty(shape)
        cost = count_complexity(module, x)
        return cost.params, cost.macs

    return count
