"""Initial poses from a network's maps of centres and of offsets.

How LOGO-CAP's centre-offset baseline (section 2 of its supplementary
material) is decoded, on any device.
"""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def find_centers(
    maps: Tensor, stride: int, kernel: int, number: int
) -> Tuple[Tensor, Tensor]:
    """The highest peaks of maps (B, 1, H, W) at the size of the input.

    Returns the places (x, y) of ``number`` of them (fewer if there are fewer
    pixels), whole px (B, M, 2), and their values (B, M) in descending order.
    If there are fewer peaks, the last values are 0, at arbitrary places.
    """
    h, w = (stride * side for side in maps.shape[2:])
    maps = F.interpolate(
        maps, size=(h, w), mode='bilinear', align_corners=False
    ).relu()
    highest = F.max_pool2d(maps, kernel, stride=1, padding=kernel // 2)
    peaks = maps * (maps == highest)
    scores, pixels = peaks.flatten(1).topk(min(number, h * w))
    x, y = pixels % w, pixels.div(w, rounding_mode='floor')
    return torch.stack([x, y], dim=-1), scores


def read_poses(offsets: Tensor, centers: Tensor, stride: int) -> Tensor:
    """Centres (B, M, 2) minus the offsets (B, 2K, H, W) at their cells.

    The centres are whole px inside the maps; the poses (B, M, K, 2), px.
    """
    x, y = centers.div(stride, rounding_mode='floor').unbind(-1)
    cells = (y * offsets.shape[3] + x)[:, None]
    cells = cells.expand(-1, offsets.shape[1], -1)
    offsets = offsets.flatten(2).gather(2, cells)
    offsets = offsets.unflatten(1, (-1, 2)).permute(0, 3, 1, 2)
    return centers[:, :, None] - stride * offsets


def check_shapes(heatmaps: Tensor, offsets: Tensor) -> None:
    """Raise unless the heatmaps fit the offsets."""
    shape = heatmaps.shape
    if len(shape) != 4 or offsets.shape != (
        shape[0],
        2 * (shape[1] - 1),
        *shape[2:],
    ):
        raise ValueError(
            'expected heatmaps of shape (B, K + 1, H, W) and offsets of '
            f'shape (B, 2K, H, W), got {tuple(shape)} and '
            f'{tuple(offsets.shape)}'
        )


def all_finite(heatmaps: Tensor, offsets: Tensor) -> Tensor:
    """Whether no map holds NaN or infinity, without waiting: 0-dim bool."""
    return heatmaps.isfinite().all() & offsets.isfinite().all()


def check_all_finite(heatmaps: Tensor, offsets: Tensor) -> None:
    """Raise a ``ValueError`` naming a map that holds NaN or infinity."""
    if all_finite(heatmaps, offsets):
        return
    for name, maps in (('heatmap', heatmaps), ('offset map', offsets)):
        for image, channel in (~maps.isfinite()).any(3).any(2).nonzero():
            raise ValueError(
                f'{name} {int(channel)} of image {int(image)} holds NaN '
                'or infinity'
            )
