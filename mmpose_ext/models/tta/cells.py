"""Where the cells of a heatmap lie in the box of a person."""

from dataclasses import dataclass
from typing import Tuple

import numpy as np
from mmpose.codecs import MegviiHeatmap, UDPHeatmap
from mmpose.codecs.base import BaseKeypointCodec


@dataclass(frozen=True)
class Cells:
    """Positions of the cells of a heatmap, along x and y.

    Cell i lies at ``start + step * i``, in parts of the box that the network
    input shows: 0 is its left or upper edge, 1 the right or lower one.

    Args:
        size (tuple[int, int]): Number of cells [W, H].
        step (np.ndarray): From one cell to the next, of shape (2,).
        start (np.ndarray): Position of the first cell, of shape (2,).
    """

    size: Tuple[int, int]
    step: np.ndarray
    start: np.ndarray


def cells_of(
    codec: BaseKeypointCodec,
    input_size: Tuple[int, int],
    heatmap_size: Tuple[int, int],
) -> Cells:
    """The cells of a network that was trained with a codec.

    The network may see an input of another size than the codec's. Its cells
    are then as many pixels apart as in training, from the same first pixel
    on. With MMPose's ``UDPHeatmap`` the first and the last cell lie on the
    edges of the box at any size, which its flip test builds upon as well.

    Args:
        codec (BaseKeypointCodec): Has ``scale_factor``, the pixels from one
            cell to the next. The first cell lies at its ``cell_offset``, px;
            without this attribute at pixel 0, as MMPose's ``MSRAHeatmap`` has
            it, or half a cell further in ``MegviiHeatmap``.
        input_size (tuple[int, int]): Size of the network input [w, h], px.
        heatmap_size (tuple[int, int]): Size of its heatmaps [W, H], cells.

    Returns:
        Cells: Where the cells lie.
    """
    if isinstance(codec, UDPHeatmap):
        step = 1 / np.maximum(np.subtract(heatmap_size, 1.0), 1)
        return Cells(heatmap_size, step, np.zeros(2))
    stride = np.asarray(codec.scale_factor, dtype=float)
    half = stride / 2 if isinstance(codec, MegviiHeatmap) else 0
    offset = np.broadcast_to(getattr(codec, 'cell_offset', half), 2)
    return Cells(heatmap_size, stride / input_size, offset / input_size)
