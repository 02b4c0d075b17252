"""Sizes of many images, of which only the headers are read."""

import os.path as osp
from typing import List, Sequence, Tuple

from mmengine.dist import is_main_process
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from ..errors import InputError

# From so many images on, a progress bar is shown.
_MANY = 2000


def read_image_sizes(
    names: Sequence[str], img_dir: str
) -> List[Tuple[int, int]]:
    """Read the sizes of images.

    Args:
        names (Sequence[str]): File names.
        img_dir (str): Their folder.

    Returns:
        list[tuple[int, int]]: Width and height of each one, in px.

    Raises:
        InputError: If the folder or an image is missing, or an image cannot
            be read.
    """
    if img_dir and not osp.isdir(img_dir):
        raise InputError(f"image folder '{img_dir}' does not exist")
    sizes, missing = [], []
    hidden = len(names) < _MANY or not is_main_process()
    with Progress(console=Console(stderr=True), disable=hidden) as bar:
        for name in bar.track(names, description='Image sizes'):
            path = osp.join(img_dir, name)
            try:
                with Image.open(path) as image:
                    sizes.append(image.size)
            except FileNotFoundError:
                missing.append(path)
            # Of names with a NUL, and of images of too many pixels, too.
            except (OSError, ValueError, Image.DecompressionBombError) as e:
                raise InputError(f"image '{path}' cannot be read: {e}") from e
    if missing:
        raise InputError(
            f"image '{missing[0]}' does not exist ({len(missing)} of "
            f'{len(names)} images are missing)'
        )
    return sizes
