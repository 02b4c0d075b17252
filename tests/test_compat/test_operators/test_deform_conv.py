import importlib
from unittest import mock

import numpy as np
import pytest
import torch
from mmcv.ops import deform_conv, modulated_deform_conv
from torch.testing import assert_close

from mmpose_ext.compat import operators
from mmpose_ext.compat.operators.deform_conv import deform_conv2d

compiled = importlib.import_module('mmcv._ext')
needs_compiled = pytest.mark.skipif(
    compiled is operators, reason='needs a compiled mmcv to compare with'
)
# stride, padding, dilation, groups, deform_groups
SETTINGS = {
    'plain': ((3, 3), (1, 1, 1, 1, 1)),
    'strides': ((3, 3), (2, 1, 1, 2, 2)),
    'row': ((1, 3), ((1, 2), (0, 1), 1, 1, 4)),
    'sides': ((3, 2), ((2, 1), (3, 0), (2, 3), 4, 2)),
    'bare': ((5, 3), (3, 0, 1, 1, 1)),
}
OFFSETS = {
    'none': lambda x: 0 * x,
    'small': lambda x: x,
    'whole cells': lambda x: (2 * x).round(),
    'far beyond': lambda x: 1000 * x,
}


def draw(settings, offsets, dtype=torch.float32):
    """Input, offsets, mask, weights and bias, of 6 maps of 7 x 9 cells."""
    kernel, (stride, padding, dilation, groups, deform_groups) = settings
    shape = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(
            (7, 9),
            kernel,
            *(np.broadcast_to(x, 2) for x in (stride, padding, dilation)),
        )
    ]
    cells = deform_groups * kernel[0] * kernel[1]
    rng = np.random.RandomState(0)
    shapes = [
        (3, 4, 7, 9),
        (3, 2 * cells, *shape),
        (3, cells, *shape),
        (8, 4 // groups, *kernel),
        (8,),
    ]
    drawn = [torch.from_numpy(rng.normal(size=s)).to(dtype) for s in shapes]
    drawn[1] = offsets(drawn[1])
    drawn[3] /= 6
    return drawn


def convolve(extension, version, settings, drawn):
    """The output and all gradients, by mmcv's Python code."""
    given = [x.clone().requires_grad_() for x in drawn]
    x, offset, mask, weight, bias = given
    if version == 1:
        module, given = deform_conv, [x, offset, weight]
        function = deform_conv.deform_conv2d
    else:
        module, given = modulated_deform_conv, [x, offset, mask, weight]
        function = modulated_deform_conv.modulated_deform_conv2d
        given.append(bias if version == 2 else None)
    with mock.patch.object(module, 'ext_module', extension):
        out = function(*given, *settings[1])
        direction = torch.linspace(-1, 1, out.numel()).view_as(out)
        out.backward(direction.to(out))
    grads = [x.grad for x in given if x is not None]
    return [out.detach(), *grads]


@needs_compiled
@pytest.mark.parametrize('version', [1, 2, 'without bias'])
@pytest.mark.parametrize('settings', SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize('offsets', OFFSETS.values(), ids=OFFSETS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_outputs_and_gradients_are_mmcvs(version, settings, offsets, dtype):
    drawn = draw(settings, offsets, dtype)
    ours, theirs = (
        convolve(extension, version, settings, drawn)
        for extension in (operators, compiled)
    )
    for our, their in zip(ours, theirs):
        assert_close(our, their, rtol=1e-5, atol=1e-5)


@needs_compiled
def test_half_precision_is_as_exact_as_mmcvs():
    drawn = draw(SETTINGS['plain'], OFFSETS['small'])
    exact = convolve(compiled, 2, SETTINGS['plain'], drawn)
    halves = [x.half() for x in drawn]
    for our, their, true in zip(
        convolve(operators, 2, SETTINGS['plain'], halves),
        convolve(compiled, 2, SETTINGS['plain'], halves),
        exact,
    ):
        assert our.dtype == torch.float16
        errors = [(x.float() - true).abs().mean() for x in (our, their)]
        assert errors[0] < 1.5 * errors[1]


@pytest.mark.parametrize('version', [1, 2])
def test_autocast_does_not_round_what_compiled_code_does_not(version):
    drawn = draw(SETTINGS['plain'], OFFSETS['small'])
    expected = convolve(operators, version, SETTINGS['plain'], drawn)
    with torch.autocast('cpu', torch.bfloat16):
        results = convolve(operators, version, SETTINGS['plain'], drawn)
    for result, value in zip(results, expected):
        assert torch.equal(result, value)


@pytest.mark.parametrize(
    'extension', [operators, pytest.param(compiled, marks=needs_compiled)]
)
def test_what_is_added_to_and_what_is_replaced(extension):
    x, offset, mask, weight, bias = draw(SETTINGS['plain'], OFFSETS['small'])
    settings = 3, 3, 1, 1, 1, 1, 1, 1, 1, 1
    direction = torch.ones(3, 8, 7, 9)
    none = x.new_empty(0)
    results = []
    for fill in (0, 1):
        grads = [torch.full_like(t, fill) for t in (x, offset, mask, weight)]
        grads.append(torch.full_like(bias, fill))
        of_x, of_offset, of_mask, of_weight, of_bias = grads
        first = [torch.full_like(t, fill) for t in (x, offset, weight)]
        extension.deform_conv_backward_input(
            x, offset, direction, *first[:2], weight, none, *settings, 3
        )
        extension.deform_conv_backward_parameters(
            x, offset, direction, first[2], none, none, *settings, 1.0, 3
        )
        extension.modulated_deform_conv_backward(
            x, weight, bias, none, offset, mask, none, of_x, of_weight,
            of_bias, of_offset, of_mask, direction, *settings, True,
        )  # fmt: skip
        results.append([*first, *grads])
    added = [1, 0, 1, 1, 0, 0, 1, 1]
    for zero, one, difference in zip(*results, added):
        assert_close(one - zero, torch.full_like(one, difference))


def test_an_empty_batch():
    drawn = draw(SETTINGS['sides'], OFFSETS['small'])
    x, offset, mask, weight, bias = drawn
    x, offset, mask = x[:0], offset[:0], mask[:0]
    output = x.new_ones(0, 8, *offset.shape[2:])
    settings = 3, 2, 2, 1, 3, 0, 2, 3, 4, 2, True
    grads = [torch.zeros_like(t) for t in (x, weight, bias, offset, mask)]
    none = x.new_empty(0)
    operators.modulated_deform_conv_forward(
        x, weight, bias, none, offset, mask, output, none, *settings
    )
    operators.modulated_deform_conv_backward(
        x, weight, bias, none, offset, mask, none, *grads, output, *settings
    )
    assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize('settings', SETTINGS.values(), ids=SETTINGS)
def test_derivatives(settings):
    x, offset, mask, weight, _ = draw(settings, lambda x: x, torch.float64)
    # Away from whole cells, where there is none.
    offset = offset.round() + (offset - offset.round()) * 0.8 + 0.5
    names = 'stride', 'padding', 'dilation', 'groups', 'deform_groups'
    given = dict(zip(names, settings[1]))
    for name in names[:3]:
        given[name] = tuple(np.broadcast_to(given[name], 2).tolist())
    inputs = [t[:1].requires_grad_() for t in (x, offset)]
    inputs += [weight.requires_grad_(), mask[:1].requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda *inputs: deform_conv2d(*inputs, **given), inputs
    )
