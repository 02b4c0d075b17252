"""Repeats MMPose's layout: transforms for its pipelines."""

from . import transforms

__all__ = ['transforms']
