"""Models' parts and whole estimators for MMPose's ``MODELS``."""

from . import backbones, heads, layers, necks, pose_estimators, tta

__all__ = ['backbones', 'heads', 'layers', 'necks', 'pose_estimators', 'tta']
