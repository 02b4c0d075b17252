"""Read images."""

from pathlib import Path
from typing import Union

import mmcv
import numpy as np

from ..engine.checks import check_file
from ..errors import InputError


def read_image(path: Union[str, Path]) -> np.ndarray:
    """Read an image as MMPose's and MMDet's ``LoadImage`` do.

    Args:
        path (str | Path): The image file.

    Returns:
        np.ndarray: BGR image of shape (H, W, 3), 8 bit.

    Raises:
        InputError: If there is no such file, or it cannot be decoded.
    """
    check_file(path, 'image')
    image = mmcv.imfrombytes(Path(path).read_bytes())
    if image is None:
        raise InputError(f"image '{path}' cannot be decoded")
    return image
