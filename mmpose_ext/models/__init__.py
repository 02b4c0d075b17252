"""Backbones, necks, heads, layers and TTA for MMPose's ``MODELS``."""

from . import backbones, heads, layers, necks, tta

__all__ = ['backbones', 'heads', 'layers', 'necks', 'tta']
