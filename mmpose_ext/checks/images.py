"""Say which image could not be read."""

import os.path as osp
import re
import traceback
from contextlib import contextmanager
from typing import Iterator

from ..errors import InputError

# MMPose's LoadImage, mmcv's LoadImageFromFile (which MMDet uses as it is), and
# Python; each also inside the text of a worker's traceback.
_MESSAGES = (
    re.compile(r'occurs when loading `(.+?)`\.'),
    re.compile(r'failed to load image: (.+)'),
)
_ABSENT = re.compile(r"(?:No such file or directory|Is a directory): '(.+)'")
_LOADER = 'mmcv/transforms/loading.py'


@contextmanager
def explain_unreadable_images() -> Iterator[None]:
    """Turn the errors of MMPose's and mmcv's image loading into one line.

    They come in several types, with or without a data loader worker's
    traceback in their text, so they are known by what that text says.
    """
    try:
        yield
    except Exception as e:
        # The last one, because a traceback may quote the source first.
        found = [path for m in _MESSAGES for path in m.findall(str(e))[-1:]]
        # mmcv passes on what the system says, which may be of other files.
        if _LOADER in ''.join(
            traceback.format_exception(type(e), e, e.__traceback__)
        ):
            found += _ABSENT.findall(str(e))[-1:]
        if not found:
            raise
        path = found[0]
        if not osp.exists(path):
            raise InputError(f'image {path!r} does not exist') from e
        if osp.isdir(path):
            raise InputError(f'image {path!r} is a folder') from e
        raise InputError(
            f'image {path!r} cannot be decoded ({osp.getsize(path)} bytes)'
        ) from e
