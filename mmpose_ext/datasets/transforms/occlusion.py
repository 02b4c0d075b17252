"""Transforms that hide parts of the image."""

from typing import Dict, Sequence, Tuple, Union

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmpose.registry import TRANSFORMS

Number = Union[int, float]


@TRANSFORMS.register_module()
class Cutout(BaseTransform):
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
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        num_holes: int = 1,
        size: Union[Number, Tuple[Number, Number]] = (0.25, 0.5),
        fill: Union[int, Sequence[int], str] = (104, 116, 124),
        prob: float = 1.0,
        mark_occluded: bool = False,
    ):
        super().__init__()
        low, high = size if isinstance(size, (tuple, list)) else (size, size)
        pixels = isinstance(low, int) and isinstance(high, int)
        limit = np.inf if pixels else 1
        if type(low) is not type(high) or not 0 < low <= high <= limit:
            raise ValueError(
                'size must be positive pixels (int) or fractions (float) in '
                f'(0, 1], or a range of one of them, got {size}'
            )
        if num_holes < 1:
            raise ValueError(f'num_holes must be at least 1, got {num_holes}')
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], got {prob}')
        if isinstance(fill, str) and fill not in ('mean', 'noise'):
            raise ValueError(
                f"fill must be a colour, 'mean' or 'noise', got '{fill}'"
            )
        self.num_holes = num_holes
        self.size = (low, high)
        self.fill = fill
        self.prob = prob
        self.mark_occluded = mark_occluded

    @cache_randomness
    def _sample_holes(self, height: int, width: int) -> np.ndarray:
        """Draw squares as (n, 4) half-open pixel boxes x1, y1, x2, y2."""
        if np.random.rand() >= self.prob:
            return np.zeros((0, 4), dtype=int)
        low, high = self.size
        if isinstance(low, int):
            side = np.random.randint(low, high + 1, size=self.num_holes)
        else:
            side = np.random.uniform(low, high, size=self.num_holes)
            side = np.maximum(1, np.rint(side * min(height, width)))
        centre = np.random.rand(self.num_holes, 2) * (width, height)
        start = np.rint(centre - side[:, None] / 2)
        holes = np.hstack([start, start + side[:, None]])
        return holes.clip(0, (width, height, width, height)).astype(int)

    @cache_randomness
    def _sample_noise(self, shape: Tuple[int, ...]) -> np.ndarray:
        return np.random.randint(0, 256, size=shape, dtype=np.uint8)

    def transform(self, results: Dict) -> dict:
        """Fill the squares.

        Args:
            results (dict): The result dict.

        Returns:
            dict: The result dict, with a changed copy of the image.
        """
        holes = self._sample_holes(*results['img'].shape[:2])
        if not len(holes):
            return results

        img = results['img'].copy()
        filling = self._filling(img)
        for x1, y1, x2, y2 in holes:
            img[y1:y2, x1:x2] = filling[y1:y2, x1:x2]
        results['img'] = img

        if self.mark_occluded:
            results['keypoints_visible'] = self._hide(results, holes)
        return results

    def _filling(self, img: np.ndarray) -> np.ndarray:
        """What the squares show, as an image in the shape of ``img``."""
        if isinstance(self.fill, str) and self.fill == 'noise':
            return self._sample_noise(img.shape)
        colour = self.fill
        if isinstance(colour, str):
            colour = np.rint(img.mean((0, 1)))
        return np.broadcast_to(colour, img.shape)

    @staticmethod
    def _hide(results: Dict, holes: np.ndarray) -> np.ndarray:
        """Visibility with 0 for keypoints in a square."""
        keypoints = results.get('transformed_keypoints')
        if keypoints is None:
            keypoints = results['keypoints']
        # A pixel covers half a cell around its centre, so x is in pixel
        # round(x).
        xy = np.rint(keypoints[..., None, :2])
        covered = ((xy >= holes[:, :2]) & (xy < holes[:, 2:])).all(-1).any(-1)
        visible = results['keypoints_visible'].copy()
        # (N, K), or (N, K, 2) with the weight of the visibility behind it.
        (visible if visible.ndim == 2 else visible[..., 0])[covered] = 0
        return visible

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_holes={self.num_holes}, '
            f'size={self.size}, fill={self.fill}, prob={self.prob}, '
            f'mark_occluded={self.mark_occluded})'
        )
