"""RoIPool: the largest cell in each bin of a region of a feature map."""

from typing import Tuple

import torch
from torch import Tensor

# Cells that are compared at once, unless one region has more.
_CHUNK = 2**22


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the largest cell in each bin of each region.

    Args:
        input (Tensor): (N, C, H, W) feature maps.
        rois (Tensor): (R, 5), index of the map and corners x1, y1, x2, y2 in
            pixels, which belong to the region.
        output (Tensor): (R, C, pooled_height, pooled_width), where the cells
            are written; 0 for a bin without any.
        argmax (Tensor): As ``output``, int, where the places of the cells in
            their maps are written; -1 for a bin without any.
        pooled_height (int): Rows of bins.
        pooled_width (int): Columns of bins.
        spatial_scale (float): Cells per pixel.
    """
    output.zero_()
    argmax.fill_(-1)
    height, width = input.shape[2:]
    features = input.permute(0, 2, 3, 1).flatten(1, 2)
    top, bottom = _bounds(
        rois[:, [2, 4]], pooled_height, spatial_scale, height
    )
    left, right = _bounds(rois[:, [1, 3]], pooled_width, spatial_scale, width)
    # Like sizes together: a chunk is as large as its largest bin.
    sizes = (bottom - top).amax(1) * (right - left).amax(1)
    order = sizes.argsort()[int((sizes <= 0).sum()) :]
    if not len(order):
        return
    cells = output[:1].numel() * int(sizes.max())
    for regions in order.split(max(1, _CHUNK // cells)):
        y, in_rows = _cells(top[regions], bottom[regions])
        x, in_columns = _cells(left[regions], right[regions])
        places = y[:, :, None, :, None] * width + x[:, None, :, None, :]
        inside = in_rows[:, :, None, :, None] & in_columns[:, None, :, None, :]
        places, inside = places.flatten(3), inside.flatten(3)
        values = features[
            rois[regions, 0].long()[:, None, None, None],
            places.clamp(max=height * width - 1),
        ]
        values = values.masked_fill(~inside[..., None], -torch.inf)
        values, index = values.max(3)
        found = inside.any(3, keepdim=True)
        values = values.where(found, 0).movedim(-1, 1)
        output[regions] = values
        places = places.gather(3, index).where(found, -1).movedim(-1, 1)
        argmax[regions] = places.to(argmax)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add the gradients of the output to those of the feature maps.

    Args:
        grad_output (Tensor): (R, C, pooled_height, pooled_width) gradients
            of the output.
        rois (Tensor): As in the forward pass.
        argmax (Tensor): As the forward pass wrote it.
        grad_input (Tensor): (N, C, H, W), to which the gradients are added.
        pooled_height (int): Rows of bins.
        pooled_width (int): Columns of bins.
        spatial_scale (float): Cells per pixel.
    """
    channels, height, width = grad_input.shape[1:]
    planes = rois[:, :1].long() * channels
    planes = planes + torch.arange(channels, device=rois.device)
    places = planes[:, :, None, None] * (height * width) + argmax
    found = argmax >= 0
    grad_input.view(-1).index_add_(0, places[found], grad_output[found])


def _bounds(
    sides: Tensor, bins: int, scale: float, size: int
) -> Tuple[Tensor, Tensor]:
    """The first cells of bins, (R, bins), and those after the last ones."""
    start, end = sides[:, :1] * scale, (sides[:, 1:] + 1) * scale
    size_of_bin = (end - start) / bins
    bin = torch.arange(bins, device=sides.device)
    first = (bin * size_of_bin + start).floor().clamp(0, size).long()
    last = ((bin + 1) * size_of_bin + start).ceil().clamp(0, size).long()
    return first, last.where(end > start, first)


def _cells(first: Tensor, last: Tensor) -> Tuple[Tensor, Tensor]:
    """Cells (R, bins, n) from the first on, and which are before the last."""
    length = int((last - first).max())
    cells = first[..., None] + torch.arange(length, device=first.device)
    return cells, cells < last[..., None]
