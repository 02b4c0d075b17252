"""The poses of the persons of one image."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmpose.apis import inference_bottomup, inference_topdown
from mmpose.structures import PoseDataSample

from mmpose_ext.errors import InputError
from mmpose_ext.inference import poses as poses_module
from mmpose_ext.inference.files import read_image
from mmpose_ext.inference.poses import (
    _check_input,
    estimate_poses,
    is_bottomup,
    load_pose_model,
)


@pytest.fixture
def weights(pose_model, tmp_path):
    """With metainfo that differs from the config's."""
    meta = dict(num_keypoints=17, flip_indices=list(range(17)))
    checkpoint = torch.load(pose_model[1])
    checkpoint['meta'] = dict(dataset_meta=meta)
    torch.save(checkpoint, tmp_path / 'random.pth')
    return str(tmp_path / 'random.pth')


@pytest.fixture
def model(pose_model):
    """A top-down model, which tests may change."""
    return load_pose_model(
        Config.fromfile(pose_model[0]), pose_model[1], 'cpu'
    )


@pytest.fixture
def bottomup(bottomup_model):
    """A bottom-up model that finds five persons anywhere."""
    config, checkpoint = bottomup_model
    return load_pose_model(Config.fromfile(config), checkpoint, 'cpu')


@pytest.fixture
def image(toy_persons):
    return read_image(toy_persons / 'val/000000000001.jpg')


def test_poses_of_boxes(model, image):
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

    kept = estimate_poses(model, image, boxes, score_thr=0.5)
    np.testing.assert_allclose(kept.keypoints, poses.keypoints[:2], atol=1e-2)
    assert kept.bbox_scores == poses.bbox_scores[:2]


def test_without_boxes_the_image_is_a_person(model, image):
    assert not is_bottomup(model)
    poses = estimate_poses(model, image)
    boxes = np.array([[0, 0, 256, 192, 1]], dtype=np.float32)
    same = estimate_poses(model, image, boxes)
    np.testing.assert_array_equal(poses.keypoints, same.keypoints)
    np.testing.assert_array_equal(poses.bboxes, boxes[:, :4])
    assert poses.bbox_scores == [1]


def test_the_meta_of_the_weights_comes_first(tiny_config, weights):
    model = load_pose_model(Config.fromfile(tiny_config), weights, 'cpu')
    assert set(model.dataset_meta) == {'num_keypoints', 'flip_indices'}
    assert not model.training


def test_a_wrong_meta_of_the_weights(pose_model, tmp_path):
    checkpoint = torch.load(pose_model[1])
    path = tmp_path / 'odd.pth'
    for meta, message in [
        ({}, "'num_keypoints' of its dataset_meta, got None"),
        (dict(num_keypoints='17'), "got '17'"),
        ([17], "expected a dict under 'dataset_meta', got list"),
    ]:
        torch.save(dict(checkpoint, meta=dict(dataset_meta=meta)), path)
        with pytest.raises(InputError, match=message):
            load_pose_model(Config.fromfile(pose_model[0]), str(path), 'cpu')


def test_configs_that_are_not_of_pose_models(tiny_config):
    config = Config.fromfile(tiny_config)
    config.pop('model')
    for model, message in [
        (dict(backbone=dict(type='ResNet')), r"got \{'backbone'"),
        (dict(type=None), "got {'type': None}"),
        ('HRNet', "type of a pose estimator, got 'HRNet'"),
        (None, "expected a 'model' in it"),
    ]:
        config.model = model
        with pytest.raises(InputError, match=message) as caught:
            load_pose_model(config, 'x.pth', 'cpu')
        assert str(tiny_config) in str(caught.value)
    for key in ('model', 'test_dataloader'):
        config = Config.fromfile(tiny_config)
        config.pop(key)
        with pytest.raises(InputError, match=f"expected a '{key}' in it"):
            load_pose_model(config, 'x.pth', 'cpu')


def test_steps_share_the_scope_of_the_config(tiny_config, weights):
    config = Config.fromfile(tiny_config)
    pipeline = config.test_dataloader.dataset.pipeline
    for step in pipeline:
        step['_scope_'] = 'mmpose'
    pipeline[1]['_scope_'] = 'mmengine'
    model = load_pose_model(config, weights, 'cpu')
    pipeline = model.cfg.test_dataloader.dataset.pipeline
    scopes = [step.get('_scope_') for step in pipeline]
    assert scopes == [None, 'mmengine', None, None]


def test_bottomup_poses(bottomup, image):
    assert is_bottomup(bottomup)
    poses = estimate_poses(bottomup, image)
    (sample,) = inference_bottomup(bottomup, image)
    expected = sample.pred_instances
    assert len(expected) == 5
    np.testing.assert_array_equal(poses.keypoints, expected.keypoints)
    np.testing.assert_array_equal(
        poses.keypoint_scores, expected.keypoint_scores
    )
    for i, joints in enumerate(expected.keypoints):
        x, y = joints[:, 0], joints[:, 1]
        np.testing.assert_array_equal(
            poses.bboxes[i], [x.min(), y.min(), x.max(), y.max()]
        )
        scores = expected.keypoint_scores[i]
        assert poses.bbox_scores[i] == pytest.approx(sum(scores) / 17)

    scores = sorted(poses.bbox_scores)
    kept = estimate_poses(bottomup, image, score_thr=scores[3])
    assert sorted(kept.bbox_scores) == scores[3:]
    assert kept.keypoints.shape == (2, 17, 2)
    with pytest.raises(ValueError, match='3 boxes for a bottom-up model'):
        estimate_poses(bottomup, image, np.zeros((3, 5)))


def test_bottomup_boxes_and_scores_are_kept(bottomup, image, monkeypatch):
    """As of MMPose's RTMO and YOLOX-Pose."""
    found = InstanceData(
        keypoints=torch.rand(2, 17, 2),
        keypoint_scores=torch.rand(2, 17),
        bboxes=torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]),
        bbox_scores=torch.tensor([0.25, 0.75]),
    )
    sample = PoseDataSample(pred_instances=found)
    monkeypatch.setattr(
        poses_module, 'inference_bottomup', lambda model, image: [sample]
    )
    poses = estimate_poses(bottomup, image, score_thr=0.5)
    np.testing.assert_array_equal(poses.keypoints, found.keypoints[1:])
    np.testing.assert_array_equal(poses.bboxes, [[5, 6, 7, 8]])
    assert poses.bbox_scores == [0.75]


def test_bottomup_in_no_scope(bottomup, image, monkeypatch):
    expected = estimate_poses(bottomup, image)
    for step in bottomup.cfg.test_dataloader.dataset.pipeline:
        step.pop('_scope_')  # of the base config
    monkeypatch.setattr(DefaultScope, '_instance_dict', {})
    found = estimate_poses(bottomup, image)
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)


def test_nobody(model, bottomup, image):
    bottomup.head.heatmap_conv_layers[-1].bias.data.fill_(-9)
    for poses in (
        estimate_poses(model, image, np.empty((0, 5), np.float32)),
        estimate_poses(bottomup, image),
        estimate_poses(bottomup, image, score_thr=0.5),
    ):
        assert poses.keypoints.shape == (0, 17, 2)
        assert poses.keypoint_scores.shape == (0, 17)
        assert poses.bboxes.shape == (0, 4)
        assert poses.bbox_scores == []


def test_mistakes(tiny_config, tiny_detector, weights):
    config = Config.fromfile(tiny_config)
    config.model.backbone.base_channels = 4
    with pytest.raises(InputError, match='another architecture'):
        load_pose_model(config, weights, 'cpu')
    config.model.backbone.type = 'ResNett'
    with pytest.raises(InputError, match="'ResNett'"):
        load_pose_model(config, weights, 'cpu')
    message = 'RTMDet, expected a TopdownPoseEstimator or a Bottomup'
    with pytest.raises(InputError, match=message):
        load_pose_model(Config.fromfile(tiny_detector[0]), weights, 'cpu')
    detector = Config.fromfile(tiny_detector[0])
    loader = dict(dataset=dict(type='CocoDataset', metainfo=dict(classes=())))
    detector.train_dataloader = detector.test_dataloader = loader
    with pytest.raises(InputError, match=message):
        load_pose_model(detector, weights, 'cpu')


def test_wrong_arguments(bottomup, image):
    for name, value in [('batch_size', 0), ('score_thr', float('nan'))]:
        with pytest.raises(ValueError, match=f'^{name} must be .*{value!r}$'):
            estimate_poses(bottomup, image, **{name: value})


def test_images_that_are_too_large(bottomup):
    """For OpenCV, and for a bottom-up model by its resized short side."""
    with pytest.raises(InputError, match=r'image of 32767 x 9 px is too'):
        estimate_poses(bottomup, np.zeros((9, 32767, 3), dtype=np.uint8))
    # The short side becomes 128, the long one 16 times as long as it is.
    for shape in ((8, 2048), (2048, 8)):
        width, height = 16 * shape[1], 16 * shape[0]
        message = rf'an input of {width} x {height} px is too large'
        with pytest.raises(InputError, match=message):
            estimate_poses(bottomup, np.zeros((*shape, 3), dtype=np.uint8))
    _check_input(bottomup, np.zeros((8, 2046, 3), dtype=np.uint8))
