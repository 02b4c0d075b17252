"""Repeats MMPose's layout: datasets, and transforms for pipelines."""

from . import transforms
from .lip_dataset import LIPDataset
from .lsp_dataset import LSPDataset

__all__ = ['LIPDataset', 'LSPDataset', 'transforms']
