import numpy as np
import pytest
import torch
from operators_of_mmcv import (
    assert_as_mmcvs,
    cases,
    compiled,
    needs_compiled,
)
from references.make_operators import (
    CONVOLUTIONS,
    convolve,
    draw_convolution,
    over,
)
from torch.testing import assert_close

from mmpose_ext.compat import operators
from mmpose_ext.compat.operators.deform_conv import deform_conv2d


def run(extension, modulated, drawn, name='usual'):
    with over(extension):
        return convolve(name, modulated, drawn)


@pytest.mark.parametrize('name', cases('deform_conv'))
def test_outputs_and_gradients_are_mmcvs(name):
    assert_as_mmcvs(name)


@needs_compiled
@pytest.mark.parametrize('name', CONVOLUTIONS)
@pytest.mark.parametrize('modulated', [False, True])
def test_double_precision_and_no_bias(name, modulated):
    drawn = [x.double() for x in draw_convolution(name)]
    drawn[-1] = None
    results = run(operators, modulated, drawn, name)
    for ours, theirs in zip(results, run(compiled, modulated, drawn, name)):
        assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@needs_compiled
def test_half_precision_is_as_exact_as_mmcvs():
    halves = [x.half() for x in draw_convolution('usual')]
    halves[1] = halves[1].clamp(-2, 2)
    exact = run(compiled, True, [x.double() for x in halves])
    results = run(operators, True, halves), run(compiled, True, halves)
    for our, their, true in zip(*results, exact):
        assert our.dtype == torch.float16
        errors = [(x - true).abs().mean() for x in (our, their)]
        assert errors[0] < 1.5 * errors[1]


@pytest.mark.parametrize('modulated', [False, True])
def test_autocast_does_not_round_what_compiled_code_does_not(modulated):
    drawn = draw_convolution('usual')
    expected = run(operators, modulated, drawn)
    with torch.autocast('cpu', torch.bfloat16):
        results = run(operators, modulated, drawn)
    for result, value in zip(results, expected):
        assert torch.equal(result, value)


@pytest.mark.parametrize(
    'extension', [operators, pytest.param(compiled, marks=needs_compiled)]
)
def test_what_is_added_to_and_what_is_replaced(extension):
    x, offset, mask, weight, bias = draw_convolution('usual')
    settings = 3, 3, 1, 1, 1, 1, 1, 1, 1, 1
    direction = torch.ones(2, 4, 5, 7)
    none = x.new_empty(0)
    results = []
    for fill in (0, 1):
        grads = [torch.full_like(t, fill) for t in (x, offset, mask, weight)]
        grads.append(torch.full_like(bias, fill))
        of_x, of_offset, of_mask, of_weight, of_bias = grads
        first = [torch.full_like(t, fill) for t in (x, offset, weight)]
        extension.deform_conv_backward_input(
            x, offset, direction, *first[:2], weight, none, *settings, 2
        )
        extension.deform_conv_backward_parameters(
            x, offset, direction, first[2], none, none, *settings, 1.0, 2
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
    x, offset, mask, weight, bias = draw_convolution('unlike sides')
    x, offset, mask = x[:0], offset[:0], mask[:0]
    output = x.new_ones(0, 4, *offset.shape[2:])
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


@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_derivatives(name):
    drawn = [x.double() for x in draw_convolution(name)]
    x, offset, mask, weight, _ = drawn
    # Away from whole cells, where there is none.
    offset = offset.round() + (offset - offset.round()) * 0.8 + 0.5
    names = 'stride', 'padding', 'dilation', 'groups', 'deform_groups'
    given = dict(zip(names, CONVOLUTIONS[name][1:]))
    for key in names[:3]:
        given[key] = np.broadcast_to(given[key], 2).tolist()
    inputs = [t[:1].requires_grad_() for t in (x, offset)]
    inputs += [weight.requires_grad_(), mask[:1].requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda *inputs: deform_conv2d(*inputs, **given), inputs
    )
