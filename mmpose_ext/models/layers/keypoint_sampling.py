"""Bilinear samples of maps around keypoints, with LOGO-CAP's border rule.

A position x between the cells of an axis of n cells reads the cell
``x0 = clamp(floor(x), 0, n - 1)`` with the weight ``clamp(x1 - x, 0, 1)``, and
``x1 = clamp(x0 + 1, 0, n - 1)`` with ``clamp(x - x0, 0, 1)``. Left of the
first cell that is the first cell. From the last cell on it is not the last
one, as :func:`torch.nn.functional.grid_sample` with a replicated border has
it: exactly there both weights are 0, and they rise to the last cell's full
value one cell further right. LOGO-CAP's published weights were trained with
it.

What is sampled is a grid around each keypoint, so that the samples are a
product of two small matrices and a crop of the map: rows, crop, columns.
"""

import math
from functools import wraps
from typing import Callable, Optional, Tuple

import torch
from torch import Tensor

# So many poses are sampled at once: what takes more memory than that, a CPU's
# allocator may have to get anew in each call, at a cost like the sampling's.
_PART = 8


def full_precision(function: Callable) -> Callable:
    """Let a function work in single precision, or in double.

    Half precision has too few digits for the places of pixels and maxima.
    Autocast is off inside of it, and its first argument, a tensor, is widened.
    """

    @wraps(function)
    def wrapped(maps: Tensor, *args, **kwargs):
        dtype = torch.promote_types(maps.dtype, torch.float32)
        with torch.autocast(maps.device.type, enabled=False):
            return function(maps.to(dtype), *args, **kwargs)

    return wrapped


def border_weights(x: Tensor, size: int) -> Tuple[Tensor, ...]:
    """Cells x0 and x1 of positions x on an axis of n, and their weights.

    By the rule above; each of them is like x.
    """
    x0 = x.floor().clamp(0, size - 1)
    x1 = (x0 + 1).clamp(max=size - 1)
    return x0, x1, (x1 - x).clamp(0, 1), (x - x0).clamp(0, 1)


def axis_matrix(
    x: Tensor, size: int, span: float, ratio: int = 1
) -> Tuple[Tensor, Tensor]:
    """The samples of one axis as a matrix for each keypoint.

    ``x`` are S rising positions (..., S), cells of the sampled axis, of which
    the last is at most ``span`` from the first; ``size`` is the number of
    cells at hand. With a ``ratio`` of the former to these, the sampled axis
    is the one that :func:`torch.nn.functional.interpolate` (bilinear,
    ``align_corners=False``) would make of them.

    Returns matrices (..., S, P) for P consecutive cells at hand, and these
    cells, integers (..., P).
    """
    x0, x1, w0, w1 = border_weights(x, size * ratio)
    # To the cells at hand, of which the outermost are repeated outwards.
    x0, x1 = (((i + 0.5) / ratio - 0.5).clamp(0, size - 1) for i in (x0, x1))
    width = min(math.ceil((math.ceil(span) + 1) / ratio) + 2, size)
    start = x0[..., :1].floor().clamp(max=size - width)
    cells = start + torch.arange(width, device=x.device)

    def hat(position: Tensor) -> Tensor:
        distance = position[..., None] - cells[..., None, :]
        return (1 - distance.abs()).clamp(min=0)

    matrix = w0[..., None] * hat(x0) + w1[..., None] * hat(x1)
    return matrix, cells.long()


@full_precision
def sample_windows(
    heatmaps: Tensor,
    image: Tensor,
    x: Tensor,
    y: Tensor,
    ratio: int,
    weights: Optional[Tensor] = None,
) -> Tensor:
    """Sample each keypoint's own heatmap, as large as the input, on a grid.

    Args:
        heatmaps (Tensor): Of shape (B, K, h, w).
        image (Tensor): Index in B of the image of each of n poses, (n,).
        x (Tensor): S rising positions along x, one or less px apart, of shape
            (n, K, S), px of the input.
        y (Tensor): The same along y.
        ratio (int): Pixels of the input per cell; see :func:`axis_matrix`.
        weights (Tensor, optional): What the samples are multiplied with along
            x, and again along y, of shape (S,). Defaults to ``None``.

    Returns:
        Tensor: Samples of shape (n, K, S, S), y before x.
    """
    num_keypoints, height, width = heatmaps.shape[1:]
    span = x.shape[-1] - 1
    along_x, columns = axis_matrix(x, width, span, ratio)
    along_y, rows = axis_matrix(y, height, span, ratio)
    if weights is not None:
        along_x, along_y = (weights[:, None] * m for m in (along_x, along_y))
    maps = torch.arange(num_keypoints, device=image.device)
    maps = maps + num_keypoints * image[:, None]
    cells = _flat(maps, rows, columns, height, width)
    return along_y @ heatmaps.flatten()[cells] @ along_x.mT


@full_precision
def sample_codes(
    embedding: Tensor, image: Tensor, x: Tensor, y: Tensor, span: float
) -> Tensor:
    """Sample all channels of a map on a grid around each keypoint.

    Args:
        embedding (Tensor): Of shape (B, E, h, w).
        image (Tensor): Index in B of the image of each of n poses, (n,).
        x (Tensor): S rising positions along x, of shape (n, K, S), cells.
        y (Tensor): The same along y.
        span (float): No keypoint's last position is further than this from
            its first, cells.

    Returns:
        Tensor: Samples of shape (n, K * E, S, S), y before x, with a
        keypoint's channels side by side.
    """
    channels, height, width = embedding.shape[1:]
    cells_last = embedding.permute(0, 2, 3, 1).reshape(-1, channels)
    along_x, columns = axis_matrix(x, width, span)
    along_y, rows = axis_matrix(y, height, span)
    cells = _flat(image[:, None], rows, columns, height, width)
    parts = zip(*(t.split(_PART) for t in (cells, along_x, along_y)))
    codes = torch.cat([_sample(cells_last, *part) for part in parts])
    return codes.permute(0, 3, 1, 2)


def _sample(
    embedding: Tensor, cells: Tensor, along_x: Tensor, along_y: Tensor
) -> Tensor:
    """Samples (m, S, S, K * E) of cells (h * w, E)."""
    codes = along_x[:, :, None] @ embedding[cells]  # (m, K, rows, S, E)
    codes = (along_y @ codes.flatten(3)).unflatten(3, codes.shape[3:])
    # In this order in memory, which convolutions are fast on.
    return codes.permute(0, 2, 3, 1, 4).flatten(3)


def _flat(
    maps: Tensor, rows: Tensor, columns: Tensor, height: int, width: int
) -> Tensor:
    """Indices (n, K, rows, columns) into maps laid end to end."""
    return (
        (maps * height)[..., None, None] + rows[..., None]
    ) * width + columns[..., None, :]
