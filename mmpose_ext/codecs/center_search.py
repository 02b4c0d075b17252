"""Initial poses from a network's maps of centres and of offsets.

How LOGO-CAP's centre-offset baseline is decoded (section 2 of its
supplementary material), on any device and without waiting for it.
"""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def find_centers(
    maps: Tensor, stride: int, kernel: int, number: int
) -> Tuple[Tensor, Tensor]:
    """The highest peaks of maps, after interpolation to the input's size.

    Args:
        maps (Tensor): Of shape (B, 1, H, W).
        stride (int): Pixels of the input per cell.
        kernel (int): Side of the square in which a peak is the highest, px,
            odd.
        number (int): How many are wanted, M; fewer if there are fewer pixels.

    Returns:
        tuple[Tensor, Tensor]: Their places (x, y) of shape (B, M, 2), whole
        px, and their values (B, M) in descending order. Where there are not
        so many peaks, the last are 0, at arbitrary places.
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
    """Centres minus the offsets at the cells that they are in.

    Args:
        offsets (Tensor): Of shape (B, 2K, H, W), cells.
        centers (Tensor): Whole numbers of shape (B, M, 2), px of the input,
            not outside of the maps.
        stride (int): Pixels of the input per cell.

    Returns:
        Tensor: Of shape (B, M, K, 2), px of the input.
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
    """Refuse maps that are not finite.

    Args:
        heatmaps (Tensor): Of shape (B, K + 1, H, W).
        offsets (Tensor): Of shape (B, 2K, H, W).

    Raises:
        ValueError: If a map holds NaN or infinity; it names the map.
    """
    if all_finite(heatmaps, offsets):
        return
    for name, maps in (('heatmap', heatmaps), ('offset map', offsets)):
        for image, channel in (~maps.isfinite()).any(3).any(2).nonzero():
            raise ValueError(
                f'{name} {int(channel)} of image {int(image)} holds NaN '
                'or infinity'
            )
