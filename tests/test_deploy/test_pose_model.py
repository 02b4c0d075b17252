"""Poses by exported files are those by PyTorch."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmpose.apis import inference_topdown
from mmpose.registry import MODELS

from mmpose_ext.deploy import pose_model, runtimes
from mmpose_ext.deploy.pose_model import PoseModel, use_exported
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError
from mmpose_ext.inference.poses import estimate_poses


@pytest.mark.parametrize('format_', ['onnx', 'openvino'])
def test_keypoints_are_those_of_pytorch(exported, model, samples, format_):
    loaded = PoseModel(exported[format_], num_threads=1)
    for image, boxes in samples:
        expected = estimate_poses(model, image, boxes)
        found = loaded(image, boxes, batch_size=2)
        assert found.keypoints.shape == (len(boxes), 17, 2)
        np.testing.assert_allclose(
            found.keypoints, expected.keypoints, atol=0.1
        )
        np.testing.assert_allclose(
            found.keypoint_scores, expected.keypoint_scores, atol=1e-4
        )
        assert found.bbox_scores == expected.bbox_scores
    assert loaded.dataset_meta['num_keypoints'] == 17
    np.testing.assert_array_equal(
        loaded.dataset_meta['sigmas'], model.dataset_meta['sigmas']
    )


def test_whole_image_scores_and_nobody(exported, samples):
    model = PoseModel(exported['onnx'])
    image, boxes = samples[0]
    assert len(model(image)) == 1
    assert len(model(image, boxes[:0])) == 0
    assert len(model(image, boxes, score_thr=2)) == 0
    (sample,) = inference_topdown(model.model, image, boxes[:1, :4])
    np.testing.assert_allclose(
        sample.pred_instances.keypoints, model(image, boxes[:1]).keypoints
    )


@pytest.mark.parametrize('format_', ['onnx', 'openvino'])
def test_threads_share_a_model(exported, samples, format_):
    model = PoseModel(exported[format_], num_threads=1)
    expected = [model(*sample) for sample in samples]
    turns = [i % len(samples) for i in range(4 * 18)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: model(*samples[i]), turns))
    for i, poses in zip(turns, found):
        np.testing.assert_array_equal(poses.keypoints, expected[i].keypoints)
        np.testing.assert_array_equal(
            poses.keypoint_scores, expected[i].keypoint_scores
        )


def test_as_many_requests_as_calls_at_once(exported, samples):
    model = PoseModel(exported['openvino'], num_threads=1)
    network = model.model.backbone.network
    for _ in range(3):
        model(*samples[0])
    assert len(network._idle) == 1
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: model(*samples[0]), range(40)))
    assert 1 <= len(network._idle) <= 4


def test_a_file_is_opened_once(exported, monkeypatch):
    opened = []

    def open_network(*args):
        opened.append(args)
        return runtimes.open_network(*args)

    monkeypatch.setattr(pose_model, 'open_network', open_network)
    PoseModel(exported['onnx'], num_threads=1)
    assert opened == [(exported['onnx'], 'cpu', 1)]


def test_in_a_config(exported, model):
    config = load_config(str(exported['config']))
    config.model.test_cfg.flip_test = False
    use_exported(config, str(exported['openvino']))
    assert config.model.type == 'ExportedTopdownEstimator'
    assert config.load_from is None
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = MODELS.build(config.model)
    # The file's own test_cfg has a flip test.
    assert model.test_cfg == dict(flip_test=False)
    assert PoseModel(exported['openvino']).model.test_cfg['flip_test']


def test_config_of_another_size(exported, model):
    config = load_config(str(exported['config']))
    config.model.head.decoder.input_size = (48, 64)
    with pytest.raises(InputError, match=r'\(64, 96\), the config .*48, 64'):
        use_exported(config, str(exported['onnx']))


def test_fewer_keypoints_than_maps(described, write_file):
    described['dataset_meta'] = dict(num_keypoints=5)
    described['model']['test_cfg'] = dict(flip_test=False)
    path = write_file(described)
    message = f"'{path}' declares does not work on an image: "
    with pytest.raises(InputError, match=message):
        PoseModel(path)
