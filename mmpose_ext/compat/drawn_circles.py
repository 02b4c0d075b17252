"""Keypoints that MMPose draws, under numpy 2.4."""

import functools
import sys
import warnings
from typing import Any

import numpy as np
from mmengine.visualization import Visualizer

from .report import Repair


def draw_circles_of_arrays() -> Repair:
    """Let MMPose's visualizers draw circles with OpenCV.

    They give the radius as an array of one item, which numpy 2.4 no longer
    converts to an integer.
    """
    thing = 'drawn keypoints'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            int(np.ones(1))
        return Repair(thing, f'numpy {np.__version__} takes their radius')
    except TypeError as e:
        reason = f'MMPose gives their radius as an array: {e}'
    # The class is repaired when it is made: the import of MMPose's
    # visualizers takes a second, and not every process draws.
    Visualizer.__init_subclass__ = classmethod(_repair)
    module = sys.modules.get('mmpose.visualization.opencv_backend_visualizer')
    if module is not None:
        _repair(module.OpencvBackendVisualizer)
    return Repair(thing, reason, 'a number is given')


def _repair(visualizer: type) -> None:
    if visualizer.__name__ != 'OpencvBackendVisualizer':
        return
    original = visualizer.draw_circles

    @functools.wraps(original, assigned=('__doc__',))
    def draw_circles(
        self: Visualizer, center: Any, radius: Any, **kwargs: Any
    ) -> Visualizer:
        if self.backend == 'opencv':
            radius = np.squeeze(radius)
        return original(self, center, radius, **kwargs)

    visualizer.draw_circles = draw_circles
