"""Keypoints to training targets, and network outputs to keypoints."""

from .background_heatmap import BackgroundHeatmap
from .center_offset import CenterOffset
from .keypoint_expansion import KeypointExpansion

__all__ = ['BackgroundHeatmap', 'CenterOffset', 'KeypointExpansion']
