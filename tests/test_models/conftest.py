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
    """Give all weights and statistics values of their own.

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
