"""Images of extreme aspect ratios."""

import functools
from typing import Any, Tuple

from .report import Repair


def keep_thin_images() -> Repair:
    """Let mmcv rescale images to no less than one pixel a side.

    With the aspect ratio kept, it rounds the short side of a thin image to
    zero, which OpenCV refuses: MMDet's ``Resize`` fails.
    """
    from mmcv.image import geometric

    original = geometric._scale_size

    @functools.wraps(original)
    def scale_size(*args: Any) -> Tuple[int, ...]:
        return tuple(max(side, 1) for side in original(*args))

    geometric._scale_size = scale_size
    return Repair(
        'thin images', 'mmcv rescales them to 0 pixels', 'a side keeps one'
    )
