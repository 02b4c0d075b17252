"""Heatmaps that are read at places which the network chooses."""

import torch
import torch.nn.functional as F
from torch import Tensor


def refine_heatmaps(heatmaps: Tensor, offsets: Tensor) -> Tensor:
    """Take each cell's value from where its offset points (equation 6).

    y(p) = x(p + offset(p)), between cells interpolated as in equations 2 and
    3; beyond the border x is 0. Gradients flow into both.

    Args:
        heatmaps (Tensor): x, shape (N, K, H, W).
        offsets (Tensor): In cells, shape (N, 2 K, H, W): channels 2 k and
            2 k + 1 are x and y of keypoint k.

    Returns:
        Tensor: y, shape (N, K, H, W), in float32 or float64.

    Raises:
        ValueError: If the shapes do not fit.
    """
    number, num_keypoints, height, width = heatmaps.shape
    expected = (number, 2 * num_keypoints, height, width)
    if offsets.shape != expected:
        raise ValueError(
            f'expected offsets of shape {expected} for heatmaps of shape '
            f'{tuple(heatmaps.shape)}, got {tuple(offsets.shape)}'
        )
    # Each keypoint's map becomes a separate image. Half precision could
    # not even hold the cells' numbers.
    dtype = torch.promote_types(heatmaps.dtype, torch.float32)
    maps = heatmaps.reshape(-1, 1, height, width).to(dtype)
    offsets = offsets.reshape(-1, 2, height, width).to(dtype)
    x = torch.arange(width, dtype=dtype, device=offsets.device)
    y = torch.arange(height, dtype=dtype, device=offsets.device)
    # grid_sample's -1 and 1 are the outer edges of the first and last cell.
    grid = torch.stack(
        (
            (2 * (x + offsets[:, 0]) + 1) / width - 1,
            (2 * (y[:, None] + offsets[:, 1]) + 1) / height - 1,
        ),
        dim=-1,
    )
    refined = F.grid_sample(maps, grid, mode='bilinear', align_corners=False)
    return refined.reshape(heatmaps.shape)
