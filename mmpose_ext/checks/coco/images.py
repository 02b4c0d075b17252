"""Rules about the entries of images, and about the images themselves."""

import os.path as osp
import warnings
from typing import Any, Optional, Tuple

import cv2
import mmcv
import numpy as np
from PIL import Image

from .columns import LIMIT, whole
from .problems import MISSING, show
from .table import CocoTable, Objects

_HEADERS_READ = 1000
_LARGEST = 2**31  # px that COCO's library counts in 32 bits
_ORIENTATION = 0x0112  # the EXIF tag
_TURNED = (5, 6, 7, 8)  # by a quarter, with or without a mirror
# What Pillow and OpenCV raise for files that are no image, or too large.
_UNREADABLE = (OSError, ValueError, SyntaxError, cv2.error)
_UNREADABLE += (Image.DecompressionBombError,)


def check_images(table: CocoTable, with_names: bool) -> None:
    """Check the names and sizes that a file has of its images.

    Args:
        table (CocoTable): The file.
        with_names (bool): Whether each image must have a file name.
    """
    sizes = []
    for key in ('width', 'height'):
        found, good = table.images.whole(
            key, 'a whole number of px above 0', 1, LIMIT
        )
        sizes.append(np.where(good, found, np.nan))
    table.sizes = np.stack(sizes, axis=-1)
    table.images.refuse(
        table.sizes.prod(axis=1) >= _LARGEST,
        'width',
        'fewer than 2^31 px',
        lambda i: 'width x height {:.0f} x {:.0f}'.format(*table.sizes[i]),
    )
    names = table.images.column('file_name')
    table.images.refuse(
        np.array([not _is_name(n, with_names) for n in names], bool),
        'file_name',
        'the name of a file',
    )


def _is_name(name, needed: bool) -> bool:
    if type(name) is not str:
        return name is MISSING and not needed
    if name.isascii():
        # MMDet's metric writes '' for all of its images.
        return (bool(name) or not needed) and '\0' not in name
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False
    return '\0' not in name


def check_image_sizes(
    images: Objects, folder: str, turns: bool = True
) -> None:
    """Compare the sizes that a file has of its images with the images.

    Of up to 1,000 images, spread over the file, the headers are read. Those
    that are missing or unreadable are left to what reads the images; but
    folders, pipes and devices, which can be read without end, are problems.

    Args:
        images (Objects): The images of the annotation file.
        folder (str): Where the file names of the images start.
        turns (bool): Whether images are turned as their EXIF orientation
            says when they are loaded, as OpenCV and so MMPose and MMDet do.
            Defaults to ``True``.
    """
    number = min(len(images), _HEADERS_READ)
    for i in np.linspace(0, len(images) - 1, number).astype(int).tolist():
        if different := _compare(images[i], folder, turns):
            images.problems.add(images.name(i), *different)


def _compare(
    image: dict, folder: str, turns: bool
) -> Optional[Tuple[str, str]]:
    """How the image file differs from its entry, or None."""
    name = image.get('file_name')
    if not _is_name(name, needed=True):
        return None  # as other rules say
    text = f'file_name {show(name)}'
    if folder and '://' in name:
        return text, 'the name of a file, not a URL'
    path = osp.join(folder, name)
    if osp.exists(path) and not osp.isfile(path):
        kind = 'a folder' if osp.isdir(path) else 'a pipe or device'
        return f'{text}, which is {kind}', 'an image file'
    stated = image.get('width'), image.get('height')
    size = _read_size(path, turns) if _are_sizes(stated) else stated
    if size in (None, stated):
        return None
    expected = f'{size[0]} x {size[1]} px as {show(name)} has'
    if size == stated[::-1]:
        expected += ': width and height are swapped'
        if turns:
            expected += ' (photographs with an EXIF orientation have it)'
    return f'{show(stated[0])} x {show(stated[1])} px', expected


def _are_sizes(stated: Tuple[Any, Any]) -> bool:
    found, good = whole(stated)
    return bool((good & (found > 0) & (found <= LIMIT)).all())


def _read_size(path: str, turns: bool) -> Optional[Tuple[int, int]]:
    """Width and height of an image as it is loaded, if it can be."""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter('ignore')
            if image.getexif().get(_ORIENTATION) not in _TURNED:
                return image.size
        # Which formats are turned differs between versions of OpenCV.
        with open(path, 'rb') as f:
            flag = 'color' if turns else 'unchanged'
            loaded = mmcv.imfrombytes(f.read(), flag=flag)
        return None if loaded is None else loaded.shape[1::-1]
    except _UNREADABLE:
        return None
