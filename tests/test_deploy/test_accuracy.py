import json
import math

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmpose.registry import MODELS
from mmpose.visualization import PoseLocalVisualizer

from mmpose_ext.deploy.accuracy import (
    check_model,
    find_accuracy,
    load_and_evaluate,
)
from mmpose_ext.errors import InputError
from mmpose_ext.inference.poses import load_pose_model


@pytest.fixture
def cfg(tiny_config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # for work_dirs
    return Config.fromfile(tiny_config)


@pytest.fixture
def weights(cfg, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / 'weights.pth'
    torch.save(MODELS.build(cfg.model).state_dict(), path)
    return str(path)


@pytest.mark.parametrize(
    'metrics, expected',
    [
        ({'coco/AR': 0.1, 'coco/AP': 0.5, 'lip/PCKh': 80}, (50, 'AP (%)')),
        ({'crowdpose/AP': 0.5}, (50, 'AP (%)')),
        ({'coco/bbox_mAP': 0.1, 'coco/keypoints_mAP': 0.5}, (50, 'AP (%)')),
        ({'lip/Head': 90.0, 'lip/PCKh': 80.0}, (80, 'PCKh (%)')),
        ({'PCK': 0.5, 'AUC': 0.1}, (0.5, 'PCK')),
        ({'PCK@0.05': 0.25, 'PCK@0.1': 0.5}, (50, 'PCK@0.1 (%)')),
    ],
)
def test_accuracy(metrics, expected):
    assert find_accuracy(metrics) == expected


@pytest.mark.parametrize(
    'wanted, expected',
    [
        ('coco/AP .5', (90, 'AP .5 (%)')),
        ('coco/AR', (60, 'AR (%)')),
        ('coco/bbox_mAP', (40, 'bbox_mAP (%)')),
        ('EPE', (3, 'EPE')),
    ],
)
def test_accuracy_that_is_wanted(wanted, expected):
    metrics = {
        'coco/AP': 0.5, 'coco/AP .5': 0.9, 'coco/AR': 0.6,
        'coco/bbox_mAP': 0.4, 'EPE': 3.0,
    }  # fmt: skip
    assert find_accuracy(metrics, wanted) == pytest.approx(expected)


def test_no_accuracy():
    with pytest.raises(InputError, match='PCK among EPE, AUC; choose one'):
        find_accuracy({'EPE': 1.0, 'AUC': 0.5})
    with pytest.raises(InputError, match='PCK among no metrics'):
        find_accuracy({})
    with pytest.raises(InputError, match="'coco/ap' among coco/AP; did you"):
        find_accuracy({'coco/AP': 0.5}, 'coco/ap')
    with pytest.raises(InputError, match='finite coco/AP, got nan'):
        find_accuracy({'coco/AP': math.nan})


def test_check_model(cfg, weights):
    check_model(cfg, weights)
    with pytest.raises(InputError, match=r"checkpoint 'no\.pth' does not"):
        check_model(cfg, 'no.pth')
    cfg.test_evaluator.format_only = True
    with pytest.raises(InputError, match='format_only=True'):
        check_model(cfg, weights)
    cfg.test_evaluator = None
    with pytest.raises(InputError, match="expected a 'test_evaluator'"):
        check_model(cfg, weights)


def test_load_without_a_test(cfg, weights):
    metrics = {'coco/AP': 0.25}
    cfg.visualizer = dict(type='PoseLocalVisualizer', name='of this test')
    model = load_and_evaluate(cfg, weights, metrics=metrics)
    # A later run must not write to the folder of this one.
    assert not PoseLocalVisualizer.check_instance_created('of this test')
    assert model.metrics == metrics
    assert model.batch_size == 8 and len(model.dataset) > 0
    batch = pseudo_collate([model.dataset[i] for i in (0, 1)])
    network = load_pose_model(cfg, weights, 'cpu')
    with torch.no_grad():
        expected = network.test_step(batch)
    # The maxima of the maps: of untrained ones, their places hang on rounding.
    for found, pose in zip(model.predict(batch), expected):
        assert found.pred_instances.keypoint_scores == pytest.approx(
            pose.pred_instances.keypoint_scores, abs=1e-6
        )


def test_metrics_are_those_of_the_test_tool(
    cfg, weights, run_script, tmp_path
):
    report = tmp_path / 'report.json'
    status, *_ = run_script(
        'tools/test.py', cfg.filename, weights, '--out', report
    )
    assert status == 0
    model = load_and_evaluate(cfg, weights)
    assert model.metrics == json.loads(report.read_text())


def test_weights_that_do_not_fit(cfg, weights):
    state = torch.load(weights, weights_only=True)
    state.pop('head.final_layer.bias')
    torch.save(state, weights)
    with pytest.raises(InputError, match='1 missing from the checkpoint'):
        load_and_evaluate(cfg, weights)
