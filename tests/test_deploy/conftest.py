"""Small models with outputs of order 1, and one of them as files."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch.nn.modules.batchnorm import _BatchNorm

from mmpose_ext.deploy.export import export_model, quantize_model, record
from mmpose_ext.deploy.network import kind_of
from mmpose_ext.deploy.samples import draw_samples
from mmpose_ext.engine.config import load_config
from mmpose_ext.inference.poses import load_pose_model

pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')
pytest.importorskip('openvino')
pytest.importorskip('nncf')


def build_model(config: Config, folder: Path, seed: int = 0):
    """A model with random weights, whose norms fit drawn persons."""
    from mmpose.models import build_pose_estimator

    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = build_pose_estimator(copy.deepcopy(config).model)
    for name, parameter in model.named_parameters():
        if 'attention' in name:  # which starts as a plain sum
            parameter.data.add_(torch.randn_like(parameter))
    checkpoint = folder / f'random{seed}.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    model = load_pose_model(copy.deepcopy(config), str(checkpoint), 'cpu')
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.train().momentum = 0.5
    samples = draw_samples(3, with_boxes=kind_of(model) == 'topdown')
    record(model, samples)
    model.eval()
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    return model, checkpoint


@pytest.fixture(scope='session')
def tiny_model(tiny_config, tmp_path_factory):
    """A ResNet, config, checkpoint and model, with a flip test."""
    config = load_config(str(tiny_config))
    config.model.test_cfg.flip_test = True
    model, checkpoint = build_model(config, tmp_path_factory.mktemp('tiny'))
    return tiny_config, checkpoint, model


@pytest.fixture(scope='session')
def samples():
    return draw_samples(3, with_boxes=True)


@pytest.fixture(scope='session')
def exported(tiny_model, samples, tmp_path_factory):
    """Its files by format, not to be changed."""
    folder = tmp_path_factory.mktemp('exported')
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = tiny_model[-1]
        recording = record(model, samples)
        files = dict(onnx=folder / 'tiny.onnx', openvino=folder / 'tiny.xml')
        for file in files.values():
            export_model(model, file, recording)
        files['int8'] = folder / 'int8' / 'tiny.xml'
        quantize_model(model, files['openvino'], files['int8'], recording, 8)
    return files
