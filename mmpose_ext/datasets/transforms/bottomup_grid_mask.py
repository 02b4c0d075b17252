"""The part of the heatmaps that a bottom-up training learns from."""

from typing import Dict, Sequence, Tuple, Union

import cv2
import numpy as np
import xtcocotools.mask as cocomask
from mmcv.transforms import BaseTransform
from mmpose.registry import TRANSFORMS


@TRANSFORMS.register_module()
class BottomupGridMask(BaseTransform):
    """Mask crowds and persons without keypoints, on the heatmaps' own grid.

    As in the training of `Learning Local-Global Contextual Adaptation for
    Multi-Person Pose Estimation <https://arxiv.org/abs/2109.03622>`_
    (LOGO-CAP): the image's mask is warped to the size of the heatmaps, a
    cell x lying at stride * x px as in their targets, and cut at 0.5; a flip
    mirrors the grid. What is outside of the image is masked, too.

    It replaces MMPose's ``BottomupGetHeatmapMask``, which takes polygons
    only, and so leaves COCO's crowd regions, which are run-length encoded,
    in the loss; and which has cell x at stride * x + (stride - 1) / 2 px.

    Required Keys:

        - img_shape, (h, w) of the image before the warp
        - input_size, (w, h) of the network input
        - heatmaps (C, H, W) (optional), or a list of them
        - warp_mat (2, 3) (optional), from the image to the input; without
          it, the image is the input
        - invalid_segs (optional), polygons or run lengths in COCO's format
        - flip_direction (optional)

    Added Keys:

        - heatmap_mask (H, W), bool, True where the loss counts; a list where
          ``heatmaps`` is one, of the shape (h, w) of the input without them

    Raises:
        ValueError: If ``flip_direction`` is neither horizontal nor None.
    """

    def transform(self, results: Dict) -> dict:
        """Add the mask; see the class."""
        direction = results.get('flip_direction')
        if direction not in (None, 'horizontal'):
            raise ValueError(
                f"flip_direction must be horizontal or None, got '{direction}'"
            )
        invalid = _decode(
            results.get('invalid_segs', []), results['img_shape']
        )
        heatmaps = results.get('heatmaps')
        if heatmaps is None:
            size = tuple(results['input_size'])
            mask = self._make_mask(invalid, results, size)
        elif isinstance(heatmaps, list):
            mask = [
                self._make_mask(invalid, results, maps.shape[:0:-1])
                for maps in heatmaps
            ]
        else:
            mask = self._make_mask(invalid, results, heatmaps.shape[:0:-1])
        results['heatmap_mask'] = mask
        return results

    @staticmethod
    def _make_mask(
        invalid: np.ndarray, results: Dict, size: Tuple[int, int]
    ) -> np.ndarray:
        """The mask on a grid of size (W, H), of what is invalid (h, w)."""
        cells_per_px = np.divide(size, results['input_size'])
        matrix = results.get('warp_mat', np.eye(2, 3)) * cells_per_px[:, None]
        # As bytes of 0 or 255: half of it is 128, however OpenCV rounds. Its
        # columns are contiguous, so the rows of the transposed mask are.
        invalid = cv2.warpAffine(
            invalid.T * np.uint8(255),
            matrix[:, [1, 0, 2]],
            size,
            flags=cv2.INTER_LINEAR,
            borderValue=255,
        )
        mask = invalid < 128
        if results.get('flip_direction') is not None:
            mask = mask[:, ::-1]
        return np.ascontiguousarray(mask)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}()'


def _decode(
    segs: Sequence[Union[list, dict]], shape: Tuple[int, int]
) -> np.ndarray:
    """The union of segmentations in COCO's format, of shape (h, w), 0 or 1.

    Columns are contiguous, as COCO's library has it.
    """
    height, width = shape
    rles = []
    for seg in segs:
        # Compressed run lengths are what merge takes; nothing is nothing.
        if isinstance(seg, dict) and not isinstance(seg['counts'], list):
            rles.append(seg)
        elif seg:
            found = cocomask.frPyObjects(seg, height, width)
            rles += found if isinstance(found, list) else [found]
    if not rles:
        return np.zeros((width, height), np.uint8).T
    return cocomask.decode(cocomask.merge(rles))
