"""Rules about the entries of images, and about the images themselves."""

import os.path as osp
import warnings
from typing import Any, List, Optional, Tuple

import cv2
import mmcv
import numpy as np
from PIL import Image

from .columns import LIMIT, column, whole
from .problems import MISSING, Problems, show
from .table import CocoTable, as_numbers, has_floats

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
        values = column(table.images, key)
        found, good = whole(values)
        good &= (found > 0) & (found <= LIMIT)
        table.problems.add_where(
            ~good,
            table.image,
            lambda i, key=key, values=values: f'{key} {show(values[i])}',
            'a whole number of px above 0',
        )
        if has_floats(values) and good.all():
            as_numbers(table.images, key, found)
        sizes.append(np.where(good, found, np.nan))
    table.sizes = np.stack(sizes, axis=-1)
    table.problems.add_where(
        table.sizes.prod(axis=1) >= _LARGEST,
        table.image,
        lambda i: 'width x height {:.0f} x {:.0f}'.format(*table.sizes[i]),
        'fewer than 2^31 px',
    )

    names = column(table.images, 'file_name')
    table.problems.add_where(
        np.array([not _is_name(n, with_names) for n in names], bool),
        table.image,
        lambda i: f'file_name {show(names[i])}',
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
    images: List[dict], problems: Problems, folder: str, turns: bool = True
) -> None:
    """Compare the sizes that a file has of its images with the images.

    Of up to 1,000 images, spread over the file, the headers are read. Those
    that are missing or unreadable are left to what reads the images; but
    folders, pipes and devices, which can be read without end, are problems.

    Args:
        images (list[dict]): The images of the annotation file.
        problems (Problems): Where to say what is wrong.
        folder (str): Where the file names of the images start.
        turns (bool): Whether images are turned as their EXIF orientation
            says when they are loaded, as OpenCV and so MMPose and MMDet do.
            Defaults to ``True``.
    """
    number = min(len(images), _HEADERS_READ)
    for i in np.linspace(0, len(images) - 1, number).astype(int).tolist():
        name = images[i].get('file_name')
        stated = images[i].get('width'), images[i].get('height')
        if not _is_name(name, needed=True):
            continue
        path = osp.join(folder, name)
        if folder and '://' in name:
            problems.add(
                f'image {show(images[i].get("id"))}',
                f'file_name {show(name)}',
                'the name of a file, not a URL',
            )
            continue
        if not osp.isfile(path):
            if osp.exists(path):
                problems.add(
                    f'image {show(images[i].get("id"))}',
                    f'file_name {show(name)}, which is '
                    + ('a folder' if osp.isdir(path) else 'a pipe or device'),
                    'an image file',
                )
            continue
        if not _are_sizes(stated):
            continue  # which other rules say
        size = _read_size(path, turns)
        if size is None or size == stated:
            continue
        expected = f'{size[0]} x {size[1]} px as {show(name)} has'
        if size == stated[::-1]:
            expected += (
                ': width and height are swapped (photographs with an EXIF '
                'orientation have it)'
                if turns
                else ': width and height are swapped'
            )
        problems.add(
            f'image {show(images[i].get("id"))}',
            f'{show(stated[0])} x {show(stated[1])} px',
            expected,
        )


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
