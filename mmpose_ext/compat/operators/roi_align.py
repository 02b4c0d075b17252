"""RoIAlign: regions of feature maps, sampled bilinearly on a grid of bins."""

import math
from typing import Iterator, Tuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ..torchvision_ops import has_torchvision_op

# Cells that are weighted at once, unless one region has more.
_CHUNK = 2**18

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
    maps = rois[:, 0].long()
    features = _in_single(input).permute(0, 2, 3, 1).flatten(0, 2)
    output.fill_(0 if pool_mode == 1 else _LOWEST)
    argmax_y.fill_(-1)
    argmax_x.fill_(-1)
    for regions, y, x in _sample(
        rois, bins, spatial_scale, sampling_ratio, aligned
    ):
        cells, weights = _interpolate(y, x, maps[regions], *input.shape[2:])
        weights = weights.to(features)
        if pool_mode == 1:
            averages = embedding_bag(
                cells.flatten(3).flatten(0, 2),
                features,
                mode='sum',
                per_sample_weights=_average(weights).flatten(0, 2),
            ).view(len(regions), *bins, -1)
            output[regions] = averages.movedim(-1, 1).to(output)
            continue
        # mmcv adds the four in this order; it decides between equal ones.
        samples = sum(
            features[cells[..., i]] * weights[..., i, None] for i in range(4)
        ).flatten(3, 4)
        largest, index = samples.max(3)
        found = (largest > _LOWEST).movedim(-1, 1)
        for written, values in (
            (output, largest),
            (argmax_y, y.expand(cells.shape[:-1]).flatten(3).gather(3, index)),
            (argmax_x, x.expand(cells.shape[:-1]).flatten(3).gather(3, index)),
        ):
            values = values.movedim(-1, 1).to(written)
            written[regions] = values.where(found, written[regions])


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
        grad_input (Tensor): (N, C, H, W) zeros, where the gradients are
            written.
        aligned_height (int): Rows of bins.
        aligned_width (int): Columns of bins.
        spatial_scale (float): Cells per pixel.
        sampling_ratio (int): As in the forward pass.
        pool_mode (int): 0 for the largest sample, 1 for the average.
        aligned (bool): As in the forward pass.
    """
    bins = aligned_height, aligned_width
    maps = rois[:, 0].long()
    if pool_mode == 0:
        _add_to_largest(grad_output, maps, argmax_y, argmax_x, grad_input)
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
    channels, height, width = grad_input.shape[1:]
    grads = grad_output.new_zeros(len(grad_input) * height * width, channels)
    for regions, y, x in _sample(
        rois, bins, spatial_scale, sampling_ratio, aligned
    ):
        cells, weights = _interpolate(y, x, maps[regions], height, width)
        cells = cells.flatten(3).flatten(0, 2)
        pooled = torch.arange(len(cells), device=cells.device)[:, None]
        transposed = torch.sparse_coo_tensor(
            torch.stack([cells, pooled.expand_as(cells)]).flatten(1),
            _average(weights).flatten().to(grads),
            (len(grads), len(cells)),
            check_invariants=False,
        )
        grads.addmm_(transposed, grad_output[regions].flatten(0, 2))
    grads = grads.view(len(grad_input), height, width, channels)
    grad_input.copy_(grads.movedim(-1, 1))


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
    # The scale is in single precision in mmcv, of double precision, too.
    scale = float(np.float32(spatial_scale))
    corners = _in_single(rois)[:, 1:] * scale - 0.5 * aligned
    starts = corners[:, [1, 0]]
    extents = corners[:, [3, 2]] - starts
    if not aligned:
        extents = extents.clamp(min=1)
    sizes = extents / extents.new_tensor(bins)
    if sampling_ratio > 0:
        grids = torch.full_like(sizes, sampling_ratio).long()
    else:  # in single precision, as mmcv rounds
        grids = sizes.float().ceil().long()
    for grid in grids[(grids > 0).all(1)].unique(dim=0).tolist():
        alike = (grids == grids.new_tensor(grid)).all(1).nonzero().flatten()
        cells = 4 * math.prod((*bins, *grid))
        for regions in alike.split(max(1, _CHUNK // cells)):
            y, x = (
                _spread(
                    starts[regions, i], sizes[regions, i], bins[i], grid[i]
                )
                for i in (0, 1)
            )
            yield regions, y[:, :, None, :, None], x[:, None, :, None, :]


def _spread(start: Tensor, size: Tensor, bins: int, samples: int) -> Tensor:
    """Positions (n, bins, samples) in bins of the given size."""
    start, size = start[:, None, None], size[:, None, None]
    bin = torch.arange(bins, device=start.device)[:, None]
    sample = torch.arange(samples, device=start.device)
    return start + bin * size + (sample + 0.5) * size / samples


def _interpolate(
    y: Tensor, x: Tensor, maps: Tensor, height: int, width: int
) -> Tuple[Tensor, Tensor]:
    """The four cells around positions.

    Args:
        y (Tensor): (n, ...) rows, in cells.
        x (Tensor): (n, ...) columns, in cells.
        maps (Tensor): (n,) indices of maps.
        height (int): Rows of a map.
        width (int): Columns of a map.

    Returns:
        tuple[Tensor, Tensor]: Indices (n, ..., 4) in all maps, and weights.
    """
    rows, row_weights = _interpolate_axis(y, height)
    columns, column_weights = _interpolate_axis(x, width)
    rows = rows + (maps * height).view(-1, *[1] * y.dim())
    cells = rows[..., :, None] * width + columns[..., None, :]
    weights = row_weights[..., :, None] * column_weights[..., None, :]
    return cells.flatten(-2), weights.flatten(-2)


def _interpolate_axis(positions: Tensor, size: int) -> Tuple[Tensor, Tensor]:
    """Cells before and after, (..., 2), and weights; 0 outside the map."""
    inside = (positions >= -1) & (positions <= size)
    positions = positions.masked_fill(~inside, 0).clamp(0, size - 1)
    before = positions.floor()
    after = positions - before
    weights = torch.stack([1 - after, after], -1) * inside[..., None]
    before = before.long()
    cells = torch.stack([before, (before + 1).clamp(max=size - 1)], -1)
    return cells, weights


def _average(weights: Tensor) -> Tensor:
    """(n, rows, columns, all cells of a bin) from those of its samples."""
    return weights.flatten(3) / math.prod(weights.shape[3:-1])


def _add_to_largest(
    grad_output: Tensor,
    maps: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
) -> None:
    """Add each gradient to the cells around the largest sample."""
    channels, height, width = grad_input.shape[1:]
    # Each channel is a map of its own.
    maps = maps[:, None] * channels
    maps = maps + torch.arange(channels, device=maps.device)
    size = max(1, _CHUNK // math.prod(grad_output.shape[2:]))
    for maps_, y, x, grads in zip(
        *(
            values.flatten(0, 1).split(size)
            for values in (maps, argmax_y, argmax_x, grad_output)
        )
    ):
        cells, weights = _interpolate(y, x, maps_, height, width)
        weights = weights * (grads * (y != -1))[..., None]
        grad_input.view(-1).scatter_add_(0, cells.flatten(), weights.flatten())
