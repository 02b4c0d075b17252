"""Keypoints that MMPose draws."""

import numpy as np
import pytest
import torch


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
