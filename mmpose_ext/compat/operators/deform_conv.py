"""Deformable convolution, versions 1 and 2.

It is a convolution of values that are read, by bilinear interpolation, at
learned places. Here torch's ``grid_sample`` reads them, with vector
instructions and threads in both directions. The compiled operators of mmcv
and of torchvision have neither on a CPU, where they take several times as
long.
"""

from typing import Any, Dict, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Optional[Tensor] = None,
    *,
    stride: Tuple[int, int],
    padding: Tuple[int, int],
    dilation: Tuple[int, int],
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Convolve what is read at moved places, as mmcv's operators do.

    Beyond the map it reads zeros. At a whole cell, where the interpolation
    has a bend, the gradient of an offset is the one to the right or below;
    it is 0 for a place a cell or more beyond the map.

    Args:
        x (Tensor): Shape (N, C, H, W).
        offset (Tensor): Cells by which the places are moved, down and to the
            right in turn, shape (N, deform_groups * kh * kw * 2, H', W').
        weight (Tensor): Shape (out_channels, C / groups, kh, kw).
        mask (Tensor, optional): Factors of what is read, shape
            (N, deform_groups * kh * kw, H', W'). Defaults to ``None``.
        stride (tuple[int, int]): Down and to the right, as the next two.
        padding (tuple[int, int]): Cells of zeros around the map.
        dilation (tuple[int, int]): Distance of the kernel's cells.
        groups (int): Of the channels, in the convolution. Defaults to 1.
        deform_groups (int): Of the channels, with offsets of their own.
            Defaults to 1.

    Returns:
        Tensor: Shape (N, out_channels, H', W').
    """
    batch, kernel, size = x.shape[0], weight.shape[2:], x.shape[2:]
    maps, rows, columns = batch * deform_groups, *offset.shape[2:]
    # Half precision could not even hold the cells' numbers.
    dtype = torch.promote_types(x.dtype, torch.float32)
    moved = offset.to(dtype).reshape(maps, *kernel, 2, rows, columns)
    places = []
    for axis, (first, last) in enumerate(((1, 3), (0, 2))):
        cell = torch.arange(kernel[axis], device=x.device) * dilation[axis]
        index = torch.arange(offset.shape[2 + axis], device=x.device)
        start = cell[:, None] + index * stride[axis] - padding[axis]
        start = start.unsqueeze(first).unsqueeze(last).to(dtype)
        places.append(start + moved[:, :, :, axis])
    inside = [(p > -1) & (p < side) for p, side in zip(places, size)]
    inside = inside[0] & inside[1]

    values = x.to(dtype)
    if torch.is_grad_enabled():
        # With a power of 2, whole cells stay so when grid_sample, whose map
        # reaches from -1 to 1, computes them back.
        more = [(1 << (side - 1).bit_length()) - side for side in size]
        values = F.pad(values, (0, more[1], 0, more[0]))
    grid = [
        (2 * place.where(inside, -2) + 1) / side - 1
        for place, side in zip(places, values.shape[2:])
    ]
    area = rows * weight[0, 0].numel()
    values = F.grid_sample(
        values.reshape(maps, x.shape[1] // deform_groups, *values.shape[2:]),
        torch.stack(grid[::-1], dim=-1).reshape(maps, area, columns, 2),
        mode='bilinear',
        align_corners=False,
    ).to(x.dtype)
    if mask is not None:
        values = values * mask.reshape(maps, 1, area, columns)
    values = values.reshape(batch, groups, weight[0].numel(), rows * columns)
    out = weight.flatten(1).unflatten(0, (groups, -1)) @ values
    return out.flatten(1, 2).unflatten(2, (rows, columns))


# mmcv's operators, with the names of its arguments. They write into tensors
# that they are given: they add to the gradients of inputs, weights and biases,
# and replace the others. Some are buffers of which there is no need.


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    *args: int,
    **kwargs: int,
) -> None:
    """mmcv's ``DCN``."""
    settings = _settings(*args, **kwargs)
    output.copy_(_convolve(settings, input, offset, weight))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    *args: int,
    **kwargs: int,
) -> None:
    """Of ``DCN``, the gradients of the input and of the offsets."""
    settings, inputs = _settings(*args, **kwargs), (input, offset, weight)
    grads = _gradients(settings, gradOutput, inputs, (0, 1))
    gradInput += grads[0]
    gradOffset.copy_(grads[1])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *args: float,
    **kwargs: float,
) -> None:
    """Of ``DCN``, the gradient of the weights; its ``scale`` is always 1."""
    settings, inputs = _settings(*args, **kwargs), (input, offset, gradWeight)
    gradWeight += _gradients(settings, gradOutput, inputs, (2,))[0]


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *args: int,
    **kwargs: int,
) -> None:
    """mmcv's ``DCNv2``; a bias without elements is none."""
    settings = _modulated_settings(*args, **kwargs)
    output.copy_(_convolve(settings, input, offset, weight, mask))
    if len(bias):
        output += bias[:, None, None]


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *args: int,
    **kwargs: int,
) -> None:
    """All gradients of ``DCNv2``."""
    settings = _modulated_settings(*args, **kwargs)
    inputs = input, offset, weight, mask
    grads = _gradients(settings, grad_output, inputs, range(4))
    grad_input += grads[0]
    grad_offset.copy_(grads[1])
    grad_weight += grads[2]
    grad_mask.copy_(grads[3])
    if len(bias):
        grad_bias += grad_output.sum((0, 2, 3))


def _settings(
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    *_: float,  # the scale, im2col_step
    **__: float,
) -> Dict[str, Any]:
    return dict(
        stride=(dH, dW),
        padding=(padH, padW),
        dilation=(dilationH, dilationW),
        groups=group,
        deform_groups=deformable_group,
    )


def _modulated_settings(
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> Dict[str, Any]:
    return dict(
        stride=(stride_h, stride_w),
        padding=(pad_h, pad_w),
        dilation=(dilation_h, dilation_w),
        groups=group,
        deform_groups=deformable_group,
    )


def _as_compiled(inputs: Sequence[Tensor]) -> Any:
    """In the type of the inputs: compiled code knows nothing of autocast."""
    return torch.autocast(inputs[0].device.type, enabled=False)


def _convolve(settings: Dict[str, Any], *inputs: Tensor) -> Tensor:
    with _as_compiled(inputs):
        return deform_conv2d(*inputs, **settings)


def _gradients(
    settings: Dict[str, Any],
    grad_output: Tensor,
    inputs: Sequence[Tensor],
    wanted: Sequence[int],
) -> Sequence[Tensor]:
    with torch.enable_grad(), _as_compiled(inputs):
        leaves = [
            tensor.detach().requires_grad_(i in wanted)
            for i, tensor in enumerate(inputs)
        ]
        out = deform_conv2d(*leaves, **settings)
        wanted_leaves = [leaves[i] for i in wanted]
        return torch.autograd.grad(out, wanted_leaves, grad_output)
