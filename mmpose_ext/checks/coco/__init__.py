"""The rules for annotation files in COCO's format."""

from .images import check_image_sizes
from .problems import Problems, show, some
from .reader import read_annotations
from .segmentations import is_empty

__all__ = [
    'Problems',
    'check_image_sizes',
    'is_empty',
    'read_annotations',
    'show',
    'some',
]
