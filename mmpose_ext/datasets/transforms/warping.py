"""Warps of images."""

from typing import Tuple

import cv2
import numpy as np

# OpenCV addresses the pixels that it warps with 16 bits.
_MAX_SIDE = 32766


def warp(
    img: np.ndarray, matrix: np.ndarray, size: Tuple[int, int], pad_val: int
) -> np.ndarray:
    """Sample an image of some size (w, h) bilinearly from another one."""
    for (w, h), what in ((img.shape[1::-1], 'image'), (size, 'input')):
        if max(w, h) > _MAX_SIDE:
            raise ValueError(
                f'expected an {what} of up to {_MAX_SIDE} px a side, got one '
                f'of {w} x {h}'
            )
    # An int alone would be the value of the first channel.
    border = (pad_val,) * 4
    return cv2.warpAffine(
        img, matrix, size, flags=cv2.INTER_LINEAR, borderValue=border
    )
