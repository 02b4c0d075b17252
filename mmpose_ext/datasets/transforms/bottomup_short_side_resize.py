"""Whole images, scaled to a bottom-up network's short side."""

from typing import Dict, Tuple

import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.registry import TRANSFORMS

from ...arguments import each, finite, positive_int
from .results import get_image
from .warping import warp


@TRANSFORMS.register_module()
class BottomupShortSideResize(BaseTransform):
    """Scale the short side of an image to a given length, for testing.

    As in the testing of `Learning Local-Global Contextual Adaptation for
    Multi-Person Pose Estimation <https://arxiv.org/abs/2109.03622>`_
    (LOGO-CAP): both axes are scaled by short side S / short side of the
    image. The long side is then cut to whole pixels and padded to the next
    multiple of ``size_factor``. (The reference gives the rule as
    ``(x + 63) // 64 * 64`` of the scaled length x, which is the same.) The
    image's centre goes to the middle of the output.

    MMPose's ``BottomupResize(resize_mode='expand')`` differs in two points:
    it pads for the fraction of a pixel too, and its centre is (w / 2, h / 2),
    where the one here is ``(int(w / 2 + 0.5), int(h / 2 + 0.5))``.

    Required Keys:

        - img (H, W, C)

    Modified Keys:

        - img (H', W', C)
        - img_shape, (H', W')

    Added Keys:

        - input_size, (W', H')
        - input_center (2,), x and y in pixels of the image before
        - input_scale (2,), the width and height of the output in such pixels

    Args:
        input_size (tuple[int, int]): Width and height in pixels, the shorter
            of which, rounded up to a multiple of ``size_factor``, is the
            length S of the short side. The longer one is not used.
        size_factor (int): Both sides of the output are multiples of it.
            Defaults to 64.
        pad_val (int): Value of all channels outside of the image. Defaults
            to 0.

    Raises:
        ValueError: If an argument is out of its range, the image is a list
            of images, or a side of the image or of the output has more than
            32766 pixels.
    """

    def __init__(
        self,
        input_size: Tuple[int, int],
        size_factor: int = 64,
        pad_val: int = 0,
    ):
        super().__init__()
        input_size = each(positive_int, 'input_size', input_size, length=2)
        self.input_size = tuple(input_size)
        self.size_factor = positive_int('size_factor', size_factor)
        self.pad_val = finite('pad_val', pad_val)

    def transform(self, results: Dict) -> dict:
        """Resize the image; see the class."""
        img = get_image(self.__class__.__name__, results)
        height, width = img.shape[:2]
        side, factor = min(width, height), self.size_factor
        short = -(-min(self.input_size) // factor) * factor
        size = tuple(
            (short * length // side + factor - 1) // factor * factor
            for length in (width, height)
        )
        x, y = int(width / 2 + 0.5), int(height / 2 + 0.5)
        scale = short / side
        matrix = np.array(
            [
                [scale, 0, size[0] / 2 - scale * x],
                [0, scale, size[1] / 2 - scale * y],
            ]
        )

        results['img'] = warp(img, matrix, size, self.pad_val)
        results['img_shape'] = size[::-1]
        results['input_size'] = size
        results['input_center'] = np.array([x, y], float)
        results['input_scale'] = np.array(size) * side / short
        return results

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(input_size={self.input_size}, '
            f'size_factor={self.size_factor}, pad_val={self.pad_val})'
        )
