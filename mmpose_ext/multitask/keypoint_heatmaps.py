"""Between keypoints in an image and heatmaps of its regions of interest.

Image coordinates are continuous: the centre of the first pixel is at 0.5, so
a region of interest (RoI) spans exactly from x1 to x2. A heatmap of S x S
cells lies over it; cell coordinates are indices, the centre of the first cell
is at 0 and the RoI spans from -0.5 to S - 0.5.

All functions take tensors and work on all RoIs and keypoints at once, but
for :func:`decode_bicubic`.
"""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Of a RoI in px, so that one without an area has finite cells, too.
_SMALLEST_SIDE = 1e-6


def to_cells(keypoints: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Where keypoints of an image are on the heatmaps of their RoIs.

    It is computed in the order of Detectron2, x * (S / w). That of x * S / w
    may be one cell apart for a keypoint on the edge between two of them.

    Args:
        keypoints (Tensor): Of one person per RoI, shape (N, K, 2), in px.
        boxes (Tensor): The RoIs, x1, y1, x2, y2 in px, shape (N, 4).
        size (int): Cells S per side of a heatmap.

    Returns:
        Tensor: Shape (N, K, 2), in cells.
    """
    start, end = _corners(boxes)
    scale = size / (end - start).clamp(min=_SMALLEST_SIDE)
    return (keypoints - start) * scale - 0.5


def to_pixels(cells: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Where cells of the heatmaps of RoIs are in an image.

    The inverse of :func:`to_cells` for RoIs of at least 1 px. Smaller ones
    are taken to be 1 px wide or high, as Detectron2 decodes them.

    Args:
        cells (Tensor): Shape (N, K, 2), in cells.
        boxes (Tensor): The RoIs, x1, y1, x2, y2 in px, shape (N, 4).
        size (int): Cells S per side of a heatmap.

    Returns:
        Tensor: Shape (N, K, 2), in px.
    """
    start, end = _corners(boxes)
    return (cells + 0.5) * (end - start).clamp(min=1) / size + start


def _corners(boxes: Tensor) -> Tuple[Tensor, Tensor]:
    """The first and the last corner of each RoI, of shape (N, 1, 2)."""
    return boxes[:, None, :2], boxes[:, None, 2:]


def find_inside(keypoints: Tensor, visible: Tensor, boxes: Tensor) -> Tensor:
    """Which keypoints are labelled, and inside a RoI that has an area.

    The edges of a RoI belong to it.

    Args:
        keypoints (Tensor): Of one person per RoI, shape (N, K, 2), in px.
        visible (Tensor): COCO's visibility, shape (N, K): 0 is unlabelled, 1
            occluded, 2 visible.
        boxes (Tensor): The RoIs, shape (N, 4), in px.

    Returns:
        Tensor: Of bool, shape (N, K).
    """
    start, end = _corners(boxes)
    inside = (keypoints >= start) & (keypoints <= end) & (start < end)
    return inside.all(dim=-1) & (visible > 0)


def find_valid(
    keypoints: Tensor, visible: Tensor, boxes: Tensor, size: int
) -> Tensor:
    """Which keypoints have a target on the heatmaps of their RoIs.

    Those of :func:`find_inside`. As in Detectron2, one right before the far
    edge, which rounding puts beyond the last cell, has none; one on the edge
    has the last cell.

    Args:
        keypoints (Tensor): Of one person per RoI, shape (N, K, 2), in px.
        visible (Tensor): COCO's visibility, shape (N, K).
        boxes (Tensor): The RoIs, shape (N, 4), in px.
        size (int): Cells S per side of a heatmap.

    Returns:
        Tensor: Of bool, shape (N, K).
    """
    fits = to_cells(keypoints, boxes, size) < size - 0.5
    fits |= keypoints == _corners(boxes)[1]
    return find_inside(keypoints, visible, boxes) & fits.all(dim=-1)


def gaussian_heatmaps(
    cells: Tensor, valid: Tensor, size: int, sigma: float = 1.0
) -> Tensor:
    """Gaussians of height 1 around keypoints (section 3.3).

    Args:
        cells (Tensor): See :func:`to_cells`, shape (N, K, 2).
        valid (Tensor): Which keypoints have one, shape (N, K); the heatmaps
            of the others are 0.
        size (int): Cells S per side of a heatmap.
        sigma (float): Standard deviation in cells. Defaults to 1, as in the
            paper.

    Returns:
        Tensor: Shape (N, K, S, S).
    """
    index = torch.arange(size, dtype=cells.dtype, device=cells.device)
    # Of each axis, shape (N, K, 2, S).
    rows = torch.exp(-((index - cells[..., None]) ** 2) / (2 * sigma**2))
    rows = torch.where(valid[..., None, None], rows, 0)
    return rows[..., 1, :, None] * rows[..., 0, None, :]


def nearest_cells(cells: Tensor, size: int) -> Tensor:
    """The flat index of the cell that holds each keypoint, row by row.

    This is the label of a softmax over the cells; a keypoint on the far edge
    of its RoI belongs to the last cell.

    Args:
        cells (Tensor): See :func:`to_cells`, shape (N, K, 2).
        size (int): Cells S per side of a heatmap.

    Returns:
        Tensor: Of int64, shape (N, K).
    """
    x, y = (cells + 0.5).floor().clamp(0, size - 1).long().unbind(dim=-1)
    return y * size + x


def _find_peaks(heatmaps: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    """Columns, rows and values of the largest cells, shapes (N, K)."""
    values, index = heatmaps.flatten(2).max(dim=2)
    width = heatmaps.shape[-1]
    return index % width, index // width, values


def decode_parabola(heatmaps: Tensor) -> Tuple[Tensor, Tensor]:
    """Find the maxima of heatmaps, finer than their cells.

    On each axis a parabola runs through the logarithms of the largest cell
    and its two neighbours, which finds the middle of a Gaussian exactly. On
    the border, where a neighbour is missing, the cell's centre stays.

    Args:
        heatmaps (Tensor): Shape (N, K, S, S), from 0 up.

    Returns:
        tuple[Tensor, Tensor]: Positions (N, K, 2) in cells, and the values
        of the largest cells (N, K).
    """
    x, y, values = _find_peaks(heatmaps)
    number, num_keypoints, size, _ = heatmaps.shape
    roi = torch.arange(number, device=heatmaps.device)[:, None]
    joint = torch.arange(num_keypoints, device=heatmaps.device)

    def value_at(dx: int, dy: int) -> Tensor:
        near_x = (x + dx).clamp(0, size - 1)
        near_y = (y + dy).clamp(0, size - 1)
        found = heatmaps[roi, joint, near_y, near_x]
        return found.clamp(min=torch.finfo(found.dtype).tiny).log()

    middle = value_at(0, 0)
    steps = []
    for index, before, after in (
        (x, value_at(-1, 0), value_at(1, 0)),
        (y, value_at(0, -1), value_at(0, 1)),
    ):
        bend = 2 * middle - before - after  # >= 0 at a maximum
        step = (after - before) / (2 * bend)
        use = (index > 0) & (index < size - 1) & (bend > 0)
        # Below half a cell in exact numbers, because both are no higher.
        steps.append(torch.where(use, step, 0).clamp(-0.5, 0.5))
    return torch.stack((x, y), dim=-1) + torch.stack(steps, dim=-1), values


def decode_bicubic(logits: Tensor, boxes: Tensor) -> Tuple[Tensor, Tensor]:
    """Find the maxima of logits, enlarged to the pixels of their RoIs.

    Detectron2 decodes so (``heatmaps_to_keypoints``). RoIs are of all sizes,
    and one enlarged to 600 x 800 px takes 33 MB: they come one by one.

    Args:
        logits (Tensor): Shape (N, K, S, S).
        boxes (Tensor): The RoIs, x1, y1, x2, y2 in px, shape (N, 4).

    Returns:
        tuple[Tensor, Tensor]: Positions (N, K, 2) in cells, and scores
        (N, K): the softmax over the S x S cells, at that place.
    """
    size = logits.shape[-1]
    cells = logits.new_zeros(*logits.shape[:2], 2)
    scores = logits.new_zeros(logits.shape[:2])
    widths, heights = (
        (boxes[:, 2:] - boxes[:, :2]).clamp(min=1).ceil().long().T.tolist()
    )
    norms = logits.flatten(2).logsumexp(dim=2)
    for i, (width, height) in enumerate(zip(widths, heights)):
        enlarged = F.interpolate(
            logits[i : i + 1],
            size=(height, width),
            mode='bicubic',
            align_corners=False,
        )
        x, y, values = _find_peaks(enlarged)
        cells[i, :, 0] = (x[0] + 0.5) * size / width - 0.5
        cells[i, :, 1] = (y[0] + 0.5) * size / height - 0.5
        scores[i] = (values[0] - norms[i]).exp()
    return cells, scores
