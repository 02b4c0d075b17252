"""Repeats MMPose's layout: datasets, and transforms for pipelines."""

from . import transforms
from .lip_dataset import LIPDataset

__all__ = ['LIPDataset', 'transforms']
