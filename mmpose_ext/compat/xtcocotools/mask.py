"""Masks as run lengths; a module like ``xtcocotools.mask``."""

from faster_coco_eval.core.mask import (
    area,
    decode,
    encode,
    frPyObjects,
    iou,
    merge,
    toBbox,
)

__all__ = ['area', 'decode', 'encode', 'frPyObjects', 'iou', 'merge', 'toBbox']
