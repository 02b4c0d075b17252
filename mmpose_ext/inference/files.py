"""Read images, and write files that are whole or not there."""

import json
from pathlib import Path
from typing import Any, Union

import cv2
import mmcv
import numpy as np
from mmengine.fileio import put

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


def write_atomic(path: Union[str, Path], content: bytes) -> None:
    """Write a file so that it is never seen half; its folder is made."""
    # Ours: see mmpose_ext/engine/atomic_backend.py.
    put(content, path, backend_args=dict(backend='atomic'))


def write_json(path: Union[str, Path], data: Any) -> None:
    """Write a JSON file with :func:`write_atomic`."""
    write_atomic(path, json.dumps(data).encode())


def write_jpeg(path: Union[str, Path], image: np.ndarray) -> None:
    """Write a BGR image of shape (H, W, 3) with :func:`write_atomic`."""
    write_atomic(path, cv2.imencode('.jpg', image)[1].tobytes())
