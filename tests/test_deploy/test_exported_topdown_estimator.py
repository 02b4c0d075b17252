import numpy as np
from mmengine.model import ExponentialMovingAverage

from mmpose_ext.deploy import PoseModel
from mmpose_ext.inference.poses import estimate_poses


def test_a_copy_for_an_average_of_weights(exported, samples):
    model = PoseModel(exported['onnx'])
    image, boxes = samples[0]
    copied = ExponentialMovingAverage(model.model).module.eval()
    np.testing.assert_array_equal(
        estimate_poses(copied, image, boxes).keypoints,
        model(image, boxes).keypoints,
    )
