"""Keypoint heatmaps with a map of the background behind them."""

from functools import lru_cache
from typing import Optional, Tuple

import cv2
import numpy as np
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.codecs.utils import (
    get_heatmap_maximum,
    refine_keypoints,
    refine_keypoints_dark,
)
from mmpose.registry import KEYPOINT_CODECS

from ..arguments import each, one_of, positive, positive_int

# A Gaussian ends where it has fallen to exp(-4.6052) = 0.01.
_CUT = 4.6052
_DECODERS = ('argmax', 'quarter', 'dark')


@KEYPOINT_CODECS.register_module()
class BackgroundHeatmap(BaseKeypointCodec):
    """Heatmaps of all persons' keypoints, and one of the background.

    The target of "Global Context for Convolutional Pose Machines" (Osokin),
    which has it from convolutional pose machines. The paper gives no numbers
    for it; the defaults and the rules below are those of its published
    training.

    A cell covers as many pixels as the input has per map cell, s along an
    axis, so that the centre of cell i lies at s * i + (s - 1) / 2 px. The
    maps are Gaussians of these centres' distances to a keypoint, ended at
    0.01; where persons overlap they add up, to 1 at most. The background is
    1 minus the highest of the keypoints' maps.

    It is for ``GCCPMHead`` alone: MMPose's heads have one map per keypoint.
    With ``HeatmapHead``, training ends at once in "target_weights and target
    have mismatched shapes", and K maps would be decoded to K - 1 keypoints.
    The tools refuse such configs before they start.

    Note:

        - instance number: N
        - keypoint number: K
        - input size: [w, h], px
        - heatmap size: [W, H], cells

    Encoded:

        - heatmaps (np.ndarray): Of shape (K + 1, H, W), float32; the
          background is the last.
        - keypoint_weights (np.ndarray): Of shape (N, K), float32. The
          visibility where a keypoint is drawn; 0 where it is missing
          (visibility below 0.5) or so far outside that no cell is reached.

    Args:
        input_size (tuple): Size of the network input in [w, h], px.
        heatmap_size (tuple): Size of the encoded maps in [W, H], cells.
        sigma (float): Standard deviation of the Gaussians in px of the
            input. Defaults to 7.0.
        decode (str): How a position is read off a map. ``'argmax'``: the
            highest pixel after bicubic interpolation to the input's size,
            to about 1 px, but in the outermost cells, where there is
            nothing to interpolate with, to 0.75 of a cell. ``'quarter'``:
            the highest cell, moved by a quarter of a cell towards its
            higher neighbours. ``'dark'``: the highest cell, moved to the
            top of a Gaussian fitted to its surroundings (`DarkPose
            <https://arxiv.org/abs/1910.06278>`_). The last two are MMPose's.
            Defaults to ``'argmax'``.
        blur_kernel_size (int): Side of the blur that ``'dark'`` starts
            with, cells; odd and at least 3. Defaults to 3, MMPose's rule for
            a Gaussian of 7 px on cells of 8 px.

    Attributes:
        scale_factor (np.ndarray): Size of a cell of the encoded maps along
            x and y, px.
        cell_offset (np.ndarray): Centre of their first cell along x and y,
            px.

    Raises:
        ValueError: If an argument is out of its range.
    """

    label_mapping_table = dict(keypoint_weights='keypoint_weights')
    field_mapping_table = dict(heatmaps='heatmaps')

    # decode takes maps of any size as long as they span the whole input.
    any_resolution = True

    def __init__(
        self,
        input_size: Tuple[int, int],
        heatmap_size: Tuple[int, int],
        sigma: float = 7.0,
        decode: str = 'argmax',
        blur_kernel_size: int = 3,
    ):
        super().__init__()
        sizes = dict(input_size=input_size, heatmap_size=heatmap_size)
        self.input_size, self.heatmap_size = (
            tuple(each(positive_int, name, size, length=2))
            for name, size in sizes.items()
        )
        self.sigma = positive('sigma', sigma)
        self.decode_mode = one_of('decode', decode, _DECODERS)
        side = positive_int('blur_kernel_size', blur_kernel_size)
        if side == 1 or side % 2 == 0:
            raise ValueError(
                f'blur_kernel_size must be odd and at least 3, got {side}'
            )
        self.blur_kernel_size = side
        self.scale_factor, self.cell_offset = self._cells(self.heatmap_size)

    def _cells(self, size: Tuple[int, int]) -> Tuple[np.ndarray, np.ndarray]:
        """Size, and first centre, of the cells of (W, H) maps, px."""
        cell = np.divide(self.input_size, size).astype(np.float32)
        return cell, (cell - 1) / 2

    def encode(
        self,
        keypoints: np.ndarray,
        keypoints_visible: Optional[np.ndarray] = None,
    ) -> dict:
        """Draw the maps.

        Args:
            keypoints (np.ndarray): (x, y) of shape (N, K, 2), px of the
                input.
            keypoints_visible (np.ndarray, optional): Of shape (N, K); a
                value below 0.5 marks a missing keypoint. Defaults to
                ``None``, no keypoint is missing.

        Returns:
            dict: ``heatmaps`` of shape (K + 1, H, W) and
            ``keypoint_weights`` of shape (N, K).
        """
        if keypoints_visible is None:
            keypoints_visible = np.ones(keypoints.shape[:2])
        number, (width, height) = keypoints.shape[1], self.heatmap_size
        heatmaps = np.zeros((number + 1, height, width), np.float32)
        weights = np.zeros(keypoints.shape[:2], np.float32)

        # Only in a square around a keypoint is there something to draw.
        points = keypoints[..., :2].astype(float) - self.cell_offset
        points /= self.scale_factor
        reach = self.sigma * (2 * _CUT) ** 0.5 / self.scale_factor
        near = (points > -1 - reach) & (points < self.heatmap_size + reach)
        near = near.all(axis=-1) & (keypoints_visible >= 0.5)
        points = points[near]
        cells, exponents = [], []
        for axis, size in enumerate((width, height)):
            at = points[:, axis, None]
            side = np.arange(int(2 * reach[axis]) + 1)
            cell = np.ceil(at - reach[axis]).astype(int) + side
            distance = (cell - at) * (self.scale_factor[axis] / self.sigma)
            outside = (cell < 0) | (cell >= size)
            exponents.append(np.where(outside, np.inf, distance**2 / 2))
            cells.append(cell)
        exponent = exponents[1][:, :, None] + exponents[0][:, None]
        drawn = exponent <= _CUT
        maps = np.nonzero(near)[1][:, None, None]
        index = (maps * height + cells[1][:, :, None]) * width
        index = (index + cells[0][:, None])[drawn]
        values = np.exp(-exponent[drawn]).astype(np.float32)
        np.add.at(heatmaps.reshape(-1), index, values)

        foreground = heatmaps[:-1]
        if len(keypoints) > 1:
            np.minimum(foreground, 1, out=foreground)
        np.subtract(1, foreground.max(axis=0), out=heatmaps[-1])
        weights[near] = keypoints_visible[near] * drawn.any(axis=(1, 2))
        return dict(heatmaps=heatmaps, keypoint_weights=weights)

    def decode(self, encoded: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Read one position off each keypoint's map.

        Args:
            encoded (np.ndarray): Maps of shape (K + 1, H, W), the background
                last. H and W may be other than ``heatmap_size``; the maps
                span the input in any case. Values that are not finite count
                as 0.

        Returns:
            tuple:

            - keypoints (np.ndarray): Of shape (1, K, 2), px of the input;
              (-1, -1) where a map is nowhere above 0.
            - scores (np.ndarray): The maps' highest values, after the
              interpolation if there is one, of shape (1, K); 0 where a map
              is nowhere above 0.

        Raises:
            ValueError: If these are no maps of keypoints and a background.
        """
        if encoded.ndim != 3 or len(encoded) < 2:
            raise ValueError(
                'expected maps of at least one keypoint and the background '
                f'in shape (K + 1, H, W), got shape {encoded.shape}'
            )
        maps = encoded[:-1].astype(np.float32)
        maps[~np.isfinite(maps)] = 0
        if self.decode_mode == 'argmax':
            maps = self._interpolate(maps)
        keypoints, scores = get_heatmap_maximum(maps)
        found = scores > 0
        if self.decode_mode != 'argmax':
            keypoints[found] = self._refine(keypoints[found], maps[found])
        cell, offset = self._cells(maps.shape[:0:-1])
        keypoints = np.where(found[:, None], keypoints * cell + offset, -1)
        return keypoints[None], np.where(found, scores, 0)[None]

    def _interpolate(self, maps: np.ndarray) -> np.ndarray:
        """(K, H, W) to (K, h, w), cell centres where encode has them."""
        k, (rows, columns), (width, height) = (
            len(maps),
            maps.shape[1:],
            self.input_size,
        )
        if (rows, columns) == (height, width):
            return maps
        wide = maps.reshape(-1, columns) @ _bicubic(columns, width).T
        return _bicubic(rows, height) @ wide.reshape(k, rows, width)

    def _refine(self, cells: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Move the highest cells (K, 2) of the maps (K, H, W), a copy."""
        if self.decode_mode == 'quarter':
            (moved,) = refine_keypoints(cells[None], maps)
        else:
            (moved,) = refine_keypoints_dark(
                cells[None], maps, self.blur_kernel_size
            )
        return moved


@lru_cache(maxsize=16)
def _bicubic(number: int, size: int) -> np.ndarray:
    """The matrix (size, number) that interpolates cells to pixels."""
    # Like ours, OpenCV's cells are areas whose outer edges coincide. It would
    # be slow to use it on the maps: their pixels would have to be together,
    # and then apart again, to find the highest of each map.
    return cv2.resize(
        np.eye(number, dtype=np.float32),
        (number, size),
        interpolation=cv2.INTER_CUBIC,
    )
