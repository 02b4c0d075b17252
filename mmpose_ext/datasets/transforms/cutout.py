"""Squares at random places of the image."""

from typing import Callable, Dict, Tuple, Union

import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmpose.registry import TRANSFORMS

from ...arguments import positive_int
from .occlusion import (
    Fill,
    Number,
    Occlusion,
    as_range,
    clip_boxes,
    in_boxes,
    scale_draws,
)


@TRANSFORMS.register_module()
class Cutout(Occlusion):
    """Fill squares at random places of the network input.

    `Improved Regularization of Convolutional Neural Networks with Cutout
    <https://arxiv.org/abs/1708.04552>`_, as section 4.3 of "Learning Enhanced
    Resolution-wise Features for Human Pose Estimation" (Zhang et al.) uses
    it. Centres are uniform over the image and squares are clipped at its
    border. Neither number nor size of the squares is in the latter paper: the
    defaults are ours. Place it after the affine transform (``TopdownAffine``
    or ``BottomupRandomAffine``).

    Required Keys:

        - img (H, W, C), uint8
        - transformed_keypoints or keypoints (with ``mark_occluded``), in
          pixels of ``img``
        - keypoints_visible (with ``mark_occluded``)

    Modified Keys:

        - img
        - keypoints_visible (with ``mark_occluded``)

    Args:
        num_holes (int): Number of squares. Defaults to 1.
        size (int | float | tuple): Side of a square, or the range (both ends
            included) from which each square's side is drawn. Integers are
            pixels, floats in (0, 1] are fractions of the shorter image side.
            Defaults to ``(0.25, 0.5)``.
        fill (int | Sequence[int] | str): What the squares hold: one value, a
            value per channel in the image's channel order, ``'mean'`` for the
            image's mean colour or ``'noise'`` for uniform random values.
            Defaults to ``(104, 116, 124)``, ImageNet's mean colour in BGR,
            which the data preprocessor turns to zero.
        prob (float): Probability that an image is changed. Defaults to 1.0.
        mark_occluded (bool): Whether covered keypoints get
            ``keypoints_visible`` 0, which takes them out of the loss.
            Defaults to ``False``.

    Raises:
        ValueError: If an argument is out of its range, the image is a list
            of them, or keypoints that are needed are missing.
    """

    def __init__(
        self,
        num_holes: int = 1,
        size: Union[Number, Tuple[Number, Number]] = (0.25, 0.5),
        fill: Fill = (104, 116, 124),
        prob: float = 1.0,
        mark_occluded: bool = False,
    ):
        super().__init__(fill, prob, mark_occluded)
        self.num_holes = positive_int('num_holes', num_holes)
        self.size = as_range('size', size, 'pixels')

    @cache_randomness
    def _sample_holes(self, height: int, width: int) -> np.ndarray:
        """Draw squares as (n, 4) half-open pixel boxes x1, y1, x2, y2."""
        drawn = np.random.rand(self.num_holes, 3)
        side = scale_draws(drawn[:, :1], self.size, min(height, width))
        start = np.rint(drawn[:, 1:] * (width, height) - side / 2)
        return clip_boxes(start, start + side, (height, width))

    def _cover(
        self, img: np.ndarray, results: Dict
    ) -> Callable[[], np.ndarray]:
        holes = self._sample_holes(*img.shape[:2])
        # Slices of Python's numbers are the faster ones.
        parts = [img[y1:y2, x1:x2] for x1, y1, x2, y2 in holes.tolist()]
        self._paint(parts, self._colour(img))
        return lambda: in_boxes(holes, self._pixels(results))
