"""Multi-scale deformable attention on a device.

On a CPU mmcv computes it in plain PyTorch, which serves everywhere.
"""

import importlib

import torch
from torch import Tensor


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """The attended values, shape (N, queries, heads * channels)."""
    # It imports this package.
    mmcv = importlib.import_module('mmcv.ops.multi_scale_deform_attn')
    return mmcv.multi_scale_deformable_attn_pytorch(
        value, value_spatial_shapes, sampling_locations, attention_weights
    )


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Adds to the three gradients."""
    inputs = value, sampling_locations, attention_weights
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        out = ms_deform_attn_forward(
            leaves[0],
            value_spatial_shapes,
            value_level_start_index,
            *leaves[1:],
            im2col_step,
        )
    grads = torch.autograd.grad(out, leaves, grad_output)
    for total, grad in zip(
        (grad_value, grad_sampling_loc, grad_attn_weight), grads
    ):
        total += grad
