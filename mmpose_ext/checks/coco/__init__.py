"""The rules for annotation files in COCO's format."""

from .problems import show, some
from .reader import read_annotations
from .segmentations import is_empty

__all__ = ['is_empty', 'read_annotations', 'show', 'some']
