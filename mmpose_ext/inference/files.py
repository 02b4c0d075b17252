"""Find and read images."""

import contextlib
import glob
import io
import os
import re
import warnings
from pathlib import Path
from typing import Iterator, List, Tuple, Union

import cv2
import mmcv
import numpy as np
from mmengine.utils import digit_version
from PIL import Image

from ..checks import check_file
from ..errors import InputError

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')

_ORIENTATION = 0x0112  # in EXIF
_TURNED = (5, 6, 7, 8)  # its values that swap width and height
# OpenCV turns these by EXIF; Pillow's size of a TIFF is already turned.
_TURNED_FORMATS = ['JPEG', 'MPO', 'PNG']
if digit_version(cv2.__version__) >= digit_version('4.13'):
    _TURNED_FORMATS.append('WEBP')


def read_image(path: Union[str, Path]) -> np.ndarray:
    """Read an image as MMPose's and MMDet's ``LoadImage`` do.

    Returns:
        np.ndarray: BGR image of shape (H, W, 3), 8 bit.

    Raises:
        InputError: If the file is missing, cannot be read or decoded, or has
            more than Pillow's limit of 178,956,970 pixels: a small file can
            decode to many gigabytes.
    """
    with _explained(path):
        content = _checked(path).read_bytes()
        # OpenCV may read a format that Pillow does not.
        with contextlib.suppress(Image.UnidentifiedImageError):
            Image.open(io.BytesIO(content)).close()
        image = mmcv.imfrombytes(content)
    if image is None:
        raise InputError(f"image '{path}' cannot be decoded")
    return image


def read_size(path: Union[str, Path]) -> Tuple[int, int]:
    """The size of what :func:`read_image` returns, from the file's header.

    Returns:
        tuple[int, int]: Width and height in pixels.

    Raises:
        InputError: As :func:`read_image`, unless only what follows the
            header is damaged.
    """
    with _explained(path), Image.open(_checked(path)) as image:
        if image.format not in _TURNED_FORMATS:
            return image.size
        # The method of a PNG file would decode it whole.
        exif = Image.Image.getexif(image)
        turned = exif.get(_ORIENTATION) in _TURNED
        return image.size[::-1] if turned else image.size


def _checked(path: Union[str, Path]) -> Path:
    if Path(path).is_dir():
        raise InputError(f"image '{path}' is a folder")
    check_file(path, 'image')
    return Path(path)


@contextlib.contextmanager
def _explained(path: Union[str, Path]) -> Iterator[None]:
    """Name the image in whatever a hostile file makes a decoder raise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            yield
    except (InputError, MemoryError):
        raise
    except Exception as e:
        reason = ' '.join(str(e).split())
        raise InputError(f"image '{path}' cannot be read: {reason}") from e


def list_images(pattern: str) -> List[Path]:
    """List the images that an argument names, 2.jpg before 10.jpg.

    Args:
        pattern (str): An image, a folder of images, or a glob.

    Returns:
        List[Path]: The images; for a file or a glob, whatever its suffix.

    Raises:
        InputError: If there are none.
    """
    if os.path.isdir(pattern):
        paths = [
            path
            for path in Path(pattern).iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES
        ]
    elif os.path.isfile(pattern):
        paths = [Path(pattern)]
    else:
        paths = [Path(p) for p in glob.glob(pattern, recursive=True)]
        paths = [path for path in paths if path.is_file()]
    if not paths:
        raise InputError(
            f"no images at '{pattern}': expected an image, a folder with "
            f'{", ".join(IMAGE_SUFFIXES)} files, or a glob that matches some'
        )
    return sorted(paths, key=_natural)


def _natural(path: Path) -> tuple:
    """Sort the numbers of a name by value: 2 before 10."""
    parts = re.split(r'([0-9]+)', str(path))
    # Every second part is a number; the name itself decides between 1 and 01.
    parts[1::2] = map(int, parts[1::2])
    return parts, str(path)
