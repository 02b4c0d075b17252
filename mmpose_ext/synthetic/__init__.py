"""Toy persons: the data that the package brings along."""

from .dataset import make_dataset

__all__ = ['make_dataset']
