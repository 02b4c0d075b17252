"""Keypoints that MMPose draws, under numpy 2.4."""

import functools
from typing import Any

import numpy as np

from .report import Repair


def draw_circles_of_arrays() -> Repair:
    """Let MMPose's visualizers draw circles with OpenCV.

    They give the radius as an array of one item, which numpy 2.4 no longer
    converts to an integer.
    """
    from mmpose.visualization.opencv_backend_visualizer import (
        OpencvBackendVisualizer,
    )

    original = OpencvBackendVisualizer.draw_circles

    @functools.wraps(original, assigned=('__doc__',))
    def draw_circles(
        self: OpencvBackendVisualizer, center: Any, radius: Any, **kwargs: Any
    ) -> OpencvBackendVisualizer:
        if self.backend == 'opencv':
            radius = np.squeeze(radius)
        return original(self, center, radius, **kwargs)

    OpencvBackendVisualizer.draw_circles = draw_circles
    return Repair(
        'circles',
        'MMPose gives their radius as an array, numpy 2.4 refuses it',
        'a number is given',
    )
