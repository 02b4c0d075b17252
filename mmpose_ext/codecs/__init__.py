"""Keypoints to training targets, and network outputs to keypoints."""

from .background_heatmap import BackgroundHeatmap

__all__ = ['BackgroundHeatmap']
