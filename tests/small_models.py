"""Smaller networks of configs, and weights without training."""

import copy
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.models import build_pose_estimator
from torch.nn.modules.batchnorm import _BatchNorm

from mmpose_ext.deploy.export import record
from mmpose_ext.deploy.network import kind_of
from mmpose_ext.deploy.samples import draw_samples
from mmpose_ext.inference.poses import load_pose_model


def thin(model: dict) -> None:
    """Let the stages of a config's HRNet have one block per branch."""
    for stage in model['backbone'].get('extra', {}).values():
        if 'num_blocks' in stage:
            stage.update(
                num_modules=1, num_blocks=(1,) * len(stage['num_blocks'])
            )


def build_model(config: Config, checkpoint: Path):
    """A model with random weights, and its checkpoint.

    Its norms fit drawn persons, so that its maps are of order 1.
    """
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = build_pose_estimator(copy.deepcopy(config).model)
        for name, parameter in model.named_parameters():
            if 'attention' in name:  # which starts as a plain sum
                parameter.data.add_(torch.randn_like(parameter))
        torch.save(dict(state_dict=model.state_dict()), checkpoint)
        model = load_pose_model(copy.deepcopy(config), str(checkpoint), 'cpu')
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.train().momentum = 0.5
        record(model, draw_samples(3, with_boxes=kind_of(model) == 'topdown'))
    torch.save(dict(state_dict=model.eval().state_dict()), checkpoint)
    return model
