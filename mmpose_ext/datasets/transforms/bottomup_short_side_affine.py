"""Random crops whose size is relative to the short side."""

from typing import Dict, Tuple

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmpose.registry import TRANSFORMS
from mmpose.structures.bbox import bbox_xyxy2corner, get_warp_matrix

from ...arguments import each, finite, non_negative, positive, positive_int
from .results import get_image
from .warping import warp


@TRANSFORMS.register_module()
class BottomupShortSideAffine(BaseTransform):
    """Crop a random square, sized by the short side, for training.

    As in the training of `Learning Local-Global Contextual Adaptation for
    Multi-Person Pose Estimation <https://arxiv.org/abs/2109.03622>`_
    (LOGO-CAP; supplementary, section 1). All is drawn uniformly, for each
    image:

    - the crop's side: the short side of the image, times ``scale_factor``;
    - how far its centre is from that of the image along each axis: a whole
      number of pixels of the image, up to ``shift_factor`` times the side
      (so the paper's 40 px are of a crop of 200);
    - its angle.

    MMPose's ``BottomupRandomAffine`` draws the shift as a part of the
    image's width and height, whatever the crop's side, and by default
    prefers the middle of all ranges. In both, the image's centre is
    (w / 2, h / 2), which the paper leaves open.

    Required Keys:

        - img (H, W, C)
        - keypoints (N, K, 2) (optional), in pixels of ``img``
        - bbox (N, 4) (optional), x1, y1, x2, y2 in pixels of ``img``
        - area (N,) (optional), in square pixels of ``img``

    Modified Keys:

        - img (h, w, C)
        - keypoints
        - bbox (N, 4, 2), the corners, as a turned box is not upright
        - area

    Added Keys:

        - input_size, (w, h)
        - warp_mat (2, 3), from pixels of the image before to those after

    ``img_shape`` remains that of the image before, as in MMPose:
    ``BottomupGetHeatmapMask`` draws there what it warps with ``warp_mat``.

    Args:
        input_size (tuple[int, int]): Width and height of the network input
            in pixels, which must be equal: ``RandomFlip`` takes them for
            height and width.
        scale_factor (tuple[float, float]): Range of the crop's side, as a
            fraction of the short side. Defaults to ``(0.75, 1.5)``.
        shift_factor (float): Largest shift of the crop's centre along either
            axis, as a fraction of the crop's side. Defaults to 0.2.
        rotate_factor (float): Largest angle of the crop, to either side, in
            degrees. Defaults to 30.0.
        pad_val (int): Value of all channels outside of the image. Defaults
            to 0.

    Raises:
        ValueError: If an argument is out of its range, the image is a list
            of them, or a side of an image has more than 32766 pixels.
    """

    def __init__(
        self,
        input_size: Tuple[int, int],
        scale_factor: Tuple[float, float] = (0.75, 1.5),
        shift_factor: float = 0.2,
        rotate_factor: float = 30.0,
        pad_val: int = 0,
    ):
        super().__init__()
        width, height = each(positive_int, 'input_size', input_size, length=2)
        if width != height:
            raise ValueError(
                'input_size must be a square (w, w), as RandomFlip takes '
                f'nothing else here, got {input_size}'
            )
        low, high = each(positive, 'scale_factor', scale_factor, length=2)
        if low > high:
            raise ValueError(
                'scale_factor must be the smallest and the largest factor, '
                f'got {scale_factor}'
            )
        self.input_size = (width, height)
        self.scale_factor = (low, high)
        self.shift_factor = non_negative('shift_factor', shift_factor)
        self.rotate_factor = non_negative('rotate_factor', rotate_factor)
        self.pad_val = finite('pad_val', pad_val)

    @cache_randomness
    def _sample_crop(self, short: int) -> Tuple[float, np.ndarray, float]:
        """Draw a crop's side and shift (2,) in pixels, and its angle."""
        side = short * np.random.uniform(*self.scale_factor)
        limit = int(self.shift_factor * side)
        shift = np.random.randint(-limit, limit + 1, size=2)
        angle = np.random.uniform(-self.rotate_factor, self.rotate_factor)
        return side, shift, angle

    def transform(self, results: Dict) -> dict:
        """Crop the image, and move its annotations with it; see the class."""
        img = get_image(self.__class__.__name__, results)
        height, width = img.shape[:2]
        side, shift, angle = self._sample_crop(min(width, height))
        centre = np.array([width, height]) / 2 + shift
        matrix = get_warp_matrix(
            centre, np.array([side, side]), angle, self.input_size
        )

        results['img'] = warp(img, matrix, self.input_size, self.pad_val)
        if 'keypoints' in results:
            results['keypoints'] = _move(results['keypoints'], matrix)
        if 'bbox' in results:
            corners = bbox_xyxy2corner(results['bbox'])
            results['bbox'] = _move(corners, matrix)
        if 'area' in results:
            scale = self.input_size[0] / side
            results['area'] = np.asarray(results['area']) * scale**2
        results['input_size'] = self.input_size
        results['warp_mat'] = matrix
        return results

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(input_size={self.input_size}, '
            f'scale_factor={self.scale_factor}, '
            f'shift_factor={self.shift_factor}, '
            f'rotate_factor={self.rotate_factor}, pad_val={self.pad_val})'
        )


def _move(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a (2, 3) matrix to points (..., 2), which may be none."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(points.dtype)
