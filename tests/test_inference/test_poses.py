"""The poses of the persons of one image."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.apis import inference_topdown
from mmpose.models import build_pose_estimator

from mmpose_ext.errors import InputError
from mmpose_ext.inference.files import read_image
from mmpose_ext.inference.poses import estimate_poses, load_pose_model


@pytest.fixture
def weights(tiny_config, tmp_path):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = build_pose_estimator(Config.fromfile(tiny_config).model)
    path = tmp_path / 'random.pth'
    meta = dict(
        dataset_meta=dict(num_keypoints=17, flip_indices=list(range(17)))
    )
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return str(path)


@pytest.fixture
def image(toy_persons):
    return read_image(toy_persons / 'val/000000000001.jpg')


def test_poses_of_boxes(tiny_config, weights, image):
    model = load_pose_model(Config.fromfile(tiny_config), weights, 'cpu')
    boxes = np.array(
        [[5, 5, 90, 150, 0.9], [60, 9, 200, 180, 0.5], [0, 0, 60, 50, 0.3]],
        dtype=np.float32,
    )
    poses = estimate_poses(model, image, boxes, batch_size=2)
    for i, box in enumerate(boxes):
        (alone,) = inference_topdown(model, image, box[None, :4])
        alone = alone.pred_instances
        np.testing.assert_allclose(
            poses.keypoints[i], alone.keypoints[0], atol=1e-2
        )
        np.testing.assert_allclose(
            poses.keypoint_scores[i], alone.keypoint_scores[0], atol=1e-4
        )
    np.testing.assert_array_equal(poses.bboxes, boxes[:, :4])
    assert poses.bbox_scores == boxes[:, 4].tolist()


def test_nobody(tiny_config, weights, image):
    model = load_pose_model(Config.fromfile(tiny_config), weights, 'cpu')
    poses = estimate_poses(model, image, np.empty((0, 5), np.float32))
    assert poses.keypoints.shape == (0, 17, 2)
    assert poses.keypoint_scores.shape == (0, 17)
    assert poses.bboxes.shape == (0, 4)


def test_the_meta_of_the_weights_comes_first(tiny_config, weights):
    model = load_pose_model(Config.fromfile(tiny_config), weights, 'cpu')
    assert set(model.dataset_meta) == {'num_keypoints', 'flip_indices'}
    assert not model.training


def test_mistakes(tiny_config, tiny_detector, weights):
    config = Config.fromfile(tiny_config)
    config.model.backbone.base_channels = 4
    with pytest.raises(InputError, match='another architecture'):
        load_pose_model(config, weights, 'cpu')
    config.model.backbone.type = 'ResNett'
    with pytest.raises(InputError, match="'ResNett'"):
        load_pose_model(config, weights, 'cpu')
    with pytest.raises(InputError, match='RTMDet, expected a Topdown'):
        load_pose_model(Config.fromfile(tiny_detector[0]), weights, 'cpu')
