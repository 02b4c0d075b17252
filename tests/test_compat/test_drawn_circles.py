"""Keypoints that MMPose draws."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from mmpose_ext.compat import drawn_circles
from mmpose_ext.compat.drawn_circles import draw_circles_of_arrays


@pytest.mark.parametrize('alpha', [1.0, 0.5])
@pytest.mark.parametrize(
    'radius', [np.array([2]), np.array([2.9]), torch.tensor([2]), 2]
)
def test_a_radius_is_an_array(radius, alpha):
    from mmpose.visualization import PoseLocalVisualizer

    visualizer = PoseLocalVisualizer('circles')
    visualizer.set_image(np.zeros((9, 9, 3), np.uint8))
    visualizer.draw_circles(
        np.array([4.0, 4.0]), radius, face_colors=(8, 8, 8), alpha=alpha
    )
    image = visualizer.get_image()
    assert image[4].max(-1).tolist() == [0, 0, *[8 * alpha] * 5, 0, 0]


def refuse_arrays(number):
    raise TypeError('only 0-dimensional arrays')


def test_nothing_is_repaired_where_numpy_converts(monkeypatch):
    monkeypatch.setattr(drawn_circles, 'int', lambda array: 1, raising=False)
    monkeypatch.setattr(drawn_circles, 'Visualizer', None)
    repair = draw_circles_of_arrays()
    assert repair.done == '' and np.__version__ in repair.found


def test_visualizers_that_were_imported_before_are_repaired(monkeypatch):
    from mmpose.visualization import opencv_backend_visualizer

    class OpencvBackendVisualizer:
        backend = 'opencv'

        def draw_circles(self, center, radius):
            return center, radius

    monkeypatch.setattr(
        opencv_backend_visualizer,
        'OpencvBackendVisualizer',
        OpencvBackendVisualizer,
    )
    # As numpy 2.4 and later do.
    monkeypatch.setattr(drawn_circles, 'int', refuse_arrays, raising=False)
    draw_circles_of_arrays()
    drawn = OpencvBackendVisualizer().draw_circles((4, 4), np.array([2]))
    assert drawn == ((4, 4), 2) and drawn[1].ndim == 0


def test_visualizers_are_not_imported():
    """Nor what they import, such as MMDet: that takes a second."""
    code = (
        'import sys, mmpose_ext\n'
        'assert "mmpose.visualization" not in sys.modules'
    )
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)
