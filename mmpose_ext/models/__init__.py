"""Backbones, necks and their layers, registered into MMPose's ``MODELS``."""

from . import backbones, layers, necks

__all__ = ['backbones', 'layers', 'necks']
