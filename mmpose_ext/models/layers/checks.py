"""Checks of the maps that a neck is given."""

from typing import List, Sequence

from torch import Tensor


def check_maps(feats: Sequence[Tensor], in_channels: Sequence[int]) -> None:
    """Check that maps fit a neck that halves or doubles their resolution.

    Args:
        feats (Sequence[Tensor]): Maps of shape (N, C_i, H_i, W_i), from high
            to low resolution.
        in_channels (Sequence[int]): The channels C_i that are expected.

    Raises:
        ValueError: If the number of maps or their channels differ from
            ``in_channels``, or a map is not half as large (rounded up) as the
            one before it.
    """
    shapes: List[tuple] = [tuple(x.shape[1:]) for x in feats]
    if [c for c, _, _ in shapes] != list(in_channels):
        raise ValueError(
            f'expected maps of {list(in_channels)} channels, got maps of '
            f'shape (C, H, W) {shapes}'
        )
    for (_, h, w), (_, low_h, low_w) in zip(shapes, shapes[1:]):
        if (low_h, low_w) != (-(-h // 2), -(-w // 2)):
            raise ValueError(
                'expected each map to be half as large (rounded up) as the '
                f'one before it, got maps of shape (C, H, W) {shapes}'
            )
