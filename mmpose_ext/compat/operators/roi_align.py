"""RoIAlign: regions of feature maps, sampled bilinearly on a grid of bins."""

from typing import Iterator, Tuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ..torchvision_ops import has_torchvision_op

# Values of cells that are gathered at once, unless one region has more.
_CHUNK = 2**22

# What mmcv's function for CPUs takes for the largest of no samples.
_LOWEST = -10000.0


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write what each bin of each region pools.

    Args:
        input (Tensor): (N, C, H, W) feature maps.
        rois (Tensor): (R, 5), index of the map and corners x1, y1, x2, y2 in
            pixels.
        output (Tensor): (R, C, aligned_height, aligned_width), where the
            features are written.
        argmax_y (Tensor): As ``output``, where the rows of the largest
            samples are written, in cells; -1 for none. Empty for averages.
        argmax_x (Tensor): As ``argmax_y``, their columns.
        aligned_height (int): Rows of bins.
        aligned_width (int): Columns of bins.
        spatial_scale (float): Cells per pixel.
        sampling_ratio (int): Rows and columns of samples in a bin; 0 for as
            many as it has rows and columns of cells, rounded up.
        pool_mode (int): 0 for the largest sample, 1 for the average.
        aligned (bool): Whether the centres of cells are at .5, and regions
            may be smaller than a cell.
    """
    bins = aligned_height, aligned_width
    if pool_mode == 1 and _prefers_torchvision(input):
        pooled = torch.ops.torchvision.roi_align(
            input, rois, spatial_scale, *bins, sampling_ratio, aligned
        )
        output.copy_(pooled)
        return
    output.fill_(0 if pool_mode == 1 else _LOWEST)
    argmax_y.fill_(-1)
    argmax_x.fill_(-1)
    channels, height, width = input.shape[1:]
    features = _in_single(input).permute(0, 2, 3, 1).flatten(0, 2)
    for regions, y, x in _sample(
        rois, channels, bins, spatial_scale, sampling_ratio, aligned
    ):
        cells, weights = _interpolate(y, x, height, width)
        cells += _first_cells(rois[regions], height * width)
        if pool_mode == 1:
            pooled = _add_up(features, cells, weights, 3).movedim(-1, 1)
            output[regions] = (pooled / (cells[0, 0, 0].numel() // 4)).to(
                output
            )
            continue
        samples = _add_up(features, cells, weights, 5).flatten(3, 4)
        largest, index = samples.max(3)
        found = largest > _LOWEST
        for target, values in (
            (output, largest),
            (argmax_y, y.expand(cells.shape[:-1]).flatten(3).gather(3, index)),
            (argmax_x, x.expand(cells.shape[:-1]).flatten(3).gather(3, index)),
        ):
            target[regions] = torch.where(
                found.movedim(-1, 1),
                values.movedim(-1, 1).to(target),
                target[regions],
            )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradients of the feature maps.

    Args:
        grad_output (Tensor): (R, C, aligned_height, aligned_width) gradients
            of the output.
        rois (Tensor): As in the forward pass.
        argmax_y (Tensor): As the forward pass wrote it.
        argmax_x (Tensor): As the forward pass wrote it.
        grad_input (Tensor): (N, C, H, W), where the gradients are written.
        aligned_height (int): Rows of bins.
        aligned_width (int): Columns of bins.
        spatial_scale (float): Cells per pixel.
        sampling_ratio (int): As in the forward pass.
        pool_mode (int): 0 for the largest sample, 1 for the average.
        aligned (bool): As in the forward pass.
    """
    bins = aligned_height, aligned_width
    maps, channels, height, width = grad_input.shape
    if pool_mode == 0:
        _add_largest(grad_output, rois, argmax_y, argmax_x, grad_input)
        return
    if _prefers_torchvision(grad_output):
        grads = torch.ops.torchvision._roi_align_backward(
            grad_output,
            rois,
            spatial_scale,
            *bins,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
        grad_input.copy_(grads)
        return
    grad_output = _in_single(grad_output).movedim(1, -1)
    grads = grad_output.new_zeros(maps * height * width, channels)
    for regions, y, x in _sample(
        rois, channels, bins, spatial_scale, sampling_ratio, aligned
    ):
        cells, weights = _interpolate(y, x, height, width)
        cells += _first_cells(rois[regions], height * width)
        weights = weights.flatten(3).to(grads) / (y.shape[3] * x.shape[4])
        values = weights[..., None] * grad_output[regions][..., None, :]
        grads.index_add_(0, cells.flatten(), values.flatten(0, -2))
    grads = grads.unflatten(0, (maps, height, width)).movedim(-1, 1)
    grad_input.copy_(grads)


def _prefers_torchvision(maps: Tensor) -> bool:
    # On a CPU its functions are as slow as mmcv's.
    return maps.device.type != 'cpu' and has_torchvision_op(
        'roi_align', maps.device
    )


def _in_single(values: Tensor) -> Tensor:
    """In single precision at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _sample(
    rois: Tensor,
    channels: int,
    bins: Tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Iterator[Tuple[Tensor, Tensor, Tensor]]:
    """Regions with as many samples in a bin as each other, and where.

    Regions without samples are left out.

    Yields:
        tuple: Indices (n,) of regions, and the positions of their samples in
        cells: y (n, aligned_height, 1, samples, 1) and x (n, 1,
        aligned_width, 1, samples).
    """
    corners = _in_single(rois)[:, 1:] * spatial_scale - 0.5 * aligned
    starts = corners[:, [1, 0]]
    extents = corners[:, [3, 2]] - starts
    if not aligned:
        extents = extents.clamp(min=1)
    sizes = extents / extents.new_tensor(bins)
    # mmcv's functions round in single precision.
    grids = sizes.float().ceil().long()
    if sampling_ratio > 0:
        grids.fill_(sampling_ratio)
    for grid in grids[(grids > 0).all(1)].unique(dim=0):
        alike = (grids == grid).all(1).nonzero().flatten()
        values = 4 * channels * bins[0] * bins[1] * int(grid.prod())
        for regions in alike.split(max(1, _CHUNK // values)):
            y, x = (
                starts[regions, axis, None, None]
                + torch.arange(bins[axis], device=rois.device)[:, None]
                * sizes[regions, axis, None, None]
                + (torch.arange(int(grid[axis]), device=rois.device) + 0.5)
                * sizes[regions, axis, None, None]
                / grid[axis]
                for axis in (0, 1)
            )
            yield regions, y[:, :, None, :, None], x[:, None, :, None, :]


def _interpolate(
    y: Tensor, x: Tensor, height: int, width: int
) -> Tuple[Tensor, Tensor]:
    """Cells around positions, (..., 4) indices in a map, and weights."""
    (rows, row_weights), (columns, column_weights) = (
        _interpolate_axis(y, height),
        _interpolate_axis(x, width),
    )
    cells = rows[..., :, None] * width + columns[..., None, :]
    weights = row_weights[..., :, None] * column_weights[..., None, :]
    return cells.flatten(-2), weights.flatten(-2)


def _interpolate_axis(positions: Tensor, size: int) -> Tuple[Tensor, Tensor]:
    """Cells before and after, (..., 2), and weights; 0 outside the map."""
    inside = (positions >= -1) & (positions <= size)
    positions = positions.masked_fill(~inside, 0).clamp(0, size - 1)
    before = positions.floor()
    weights = positions - before
    weights = torch.stack([1 - weights, weights], -1) * inside[..., None]
    before = before.long()
    cells = torch.stack([before, (before + 1).clamp(max=size - 1)], -1)
    return cells, weights


def _first_cells(rois: Tensor, size: int) -> Tensor:
    """(R, 1, 1, 1, 1, 1): the first cell of the map of each region."""
    return (rois[:, 0].long() * size)[(...,) + (None,) * 5]


def _add_up(
    features: Tensor, cells: Tensor, weights: Tensor, ndim: int
) -> Tensor:
    """Sums of features over all but the first dimensions of the cells."""
    sums = embedding_bag(
        cells.flatten(0, ndim - 1).flatten(1),
        features,
        mode='sum',
        per_sample_weights=weights.flatten(0, ndim - 1)
        .flatten(1)
        .to(features),
    )
    return sums.unflatten(0, cells.shape[:ndim])


def _add_largest(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
) -> None:
    """Add each gradient to the cells around the largest sample."""
    channels, height, width = grad_input.shape[1:]
    size = height * width
    channel = torch.arange(channels, device=rois.device)[:, None, None, None]
    chunk = max(1, _CHUNK // (4 * grad_output[0:1].numel() or 1))
    for first in range(0, len(rois), chunk):
        part = slice(first, first + chunk)
        cells, weights = _interpolate(
            argmax_y[part], argmax_x[part], height, width
        )
        cells += _first_cells(rois[part], channels * size).squeeze(-1)
        cells += channel * size
        weights *= (argmax_y[part] != -1)[..., None]
        values = weights * grad_output[part, ..., None]
        grad_input.view(-1).scatter_add_(0, cells.flatten(), values.flatten())
