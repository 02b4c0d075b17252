"""Permutations of the colour channels."""

from typing import Dict

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmpose.registry import TRANSFORMS

from ...arguments import fraction
from .results import get_image


@TRANSFORMS.register_module()
class ChannelPermutation(BaseTransform):
    """Permute the colour channels of the image.

    Section 3.2.2 of `Global Context for Convolutional Pose Machines
    <https://arxiv.org/abs/1906.04104>`_. The permutation is uniform over all
    of them, the identity included: with three channels, an image changes
    with probability ``5 / 6 * prob``. Each channel occurs once; in the
    official implementation, which overwrites channels that it still reads,
    one may repeat and another be lost. We take this for a bug.

    Required Keys:

        - img (H, W, C), any dtype; (H, W) has no channels and stays as it is

    Modified Keys:

        - img

    Args:
        prob (float): Probability that a permutation is drawn. Defaults to
            0.5, as in the official implementation.

    Raises:
        ValueError: If ``prob`` is not in [0, 1], or the image is a list of
            them.
    """

    def __init__(self, prob: float = 0.5):
        super().__init__()
        self.prob = fraction('prob', prob)

    @cache_randomness
    def _sample_order(self, num_channels: int) -> np.ndarray:
        if np.random.rand() >= self.prob:
            return np.arange(num_channels)
        return np.random.permutation(num_channels)

    def transform(self, results: Dict) -> dict:
        """Permute the channels, of a copy if that changes anything."""
        img = get_image(self.__class__.__name__, results)
        if img.ndim == 3:
            order = self._sample_order(img.shape[2])
            if (order != np.arange(len(order))).any():
                results['img'] = _permute(img, order)
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(prob={self.prob})'


def _permute(img: np.ndarray, order: np.ndarray) -> np.ndarray:
    """A contiguous image of the channels in this order."""
    if img.dtype != np.uint8:
        return img.take(order, axis=2)
    # The same, but several times as fast; cv2.mixChannels is slower, too.
    permuted, plane = np.empty_like(img, order='C'), None
    for new, old in enumerate(order):
        plane = cv2.extractChannel(img, int(old), plane)
        cv2.insertChannel(plane, permuted, new)
    return permuted
