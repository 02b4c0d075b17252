"""Checks of a module's input maps and of their channels."""

from typing import Any, List, Sequence

from mmengine.utils import is_seq_of
from torch import Tensor, nn

from ...arguments import each, positive_int


def check_channels(in_channels: Any) -> List[int]:
    """Check the channels of the maps that a neck merges.

    Args:
        in_channels (Sequence[int]): The neck's argument.

    Returns:
        list[int]: The channels, as Python's integers.

    Raises:
        ValueError: If it is not a list, tuple or array of at least two
            positive integers.
    """
    channels = each(positive_int, 'in_channels', in_channels)
    if len(channels) < 2:
        raise ValueError(
            'in_channels must hold the channels of at least two maps, got '
            f'{in_channels!r}'
        )
    return channels


def check_map(x: Any, channels: int) -> None:
    """Check the input map of a module.

    Args:
        x (Tensor): The map.
        channels (int): The channels that it should have.

    Raises:
        ValueError: If it is not a tensor of shape (N, ``channels``, H, W)
            with at least one cell.
    """
    if (
        not isinstance(x, Tensor)
        or x.dim() != 4
        or x.shape[1] != channels
        or 0 in x.shape[2:]
    ):
        raise ValueError(
            f'expected a map of shape (N, {channels}, H, W) with at least one '
            f'cell, got {_describe(x)}'
        )


def check_maps(
    feats: Sequence[Tensor], in_channels: Sequence[int], halved: bool = True
) -> None:
    """Check the input maps of a neck.

    Args:
        feats (Sequence[Tensor]): Maps of shape (N, C_i, H_i, W_i), from high
            to low resolution.
        in_channels (Sequence[int]): The channels C_i that are expected.
        halved (bool): Whether each map has to be half as large (rounded up)
            as the one before it. Defaults to ``True``.

    Raises:
        ValueError: If these are not maps, their number or their channels
            differ from ``in_channels``, or their sizes are not as expected.
    """
    if not is_seq_of(feats, Tensor) or any(x.dim() != 4 for x in feats):
        raise ValueError(
            'expected a list or tuple of maps of shape (N, C, H, W), got '
            f'{_describe(feats)}'
        )
    shapes: List[tuple] = [tuple(x.shape[1:]) for x in feats]
    if [c for c, _, _ in shapes] != list(in_channels):
        raise ValueError(
            f'expected maps of {list(in_channels)} channels, got maps of '
            f'shape (C, H, W) {shapes}'
        )
    for (_, h, w), (_, low_h, low_w) in zip(shapes, shapes[1:]):
        if halved and (low_h, low_w) != (-(-h // 2), -(-w // 2)):
            raise ValueError(
                'expected each map to be half as large (rounded up) as the '
                f'one before it, got maps of shape (C, H, W) {shapes}'
            )


def check_batch_norm(module: nn.Module, x: Tensor, cells: int) -> None:
    """Check that batch norms get more than one value to learn from.

    Args:
        module (nn.Module): The module with the norms.
        x (Tensor): Its map, of shape (N, C, H, W).
        cells (int): Longest side of a map that becomes a single cell inside
            the module.

    Raises:
        ValueError: If a norm in training would see a single value.
    """
    n, _, h, w = x.shape
    if n > 1 or max(h, w) > cells:
        return
    # A SyncBatchNorm may get more from other processes.
    if any(
        isinstance(m, nn.BatchNorm2d) and m.training for m in module.modules()
    ):
        raise ValueError(
            f'{type(module).__name__} cannot be trained on a single map of '
            f'{h}x{w} cells: expected a side of more than {cells}, or more '
            'images in a batch'
        )


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f'a tensor of shape {tuple(value.shape)}'
    if isinstance(value, (list, tuple)):
        items = ', '.join(map(_describe, value))
        return f'a {type(value).__name__} of {items or "nothing"}'
    return repr(value)
