"""The part of an estimator that is exported."""

import pytest
import torch
from mmpose.models import BottomupPoseEstimator
from torch import nn

from mmpose_ext.deploy.network import (
    PoseNetwork,
    check_size,
    flatten,
    record_inputs,
    structure_of,
    unflatten,
)
from mmpose_ext.errors import InputError


def test_maps_are_those_of_the_head(model):
    images = torch.randn(2, 3, 96, 64)
    with torch.inference_mode():
        (maps,) = PoseNetwork(model)(images)
        expected = model.head.forward(model.extract_feat(images))
    torch.testing.assert_close(maps, expected, rtol=0, atol=0)


def test_only_the_last_stage_of_several(model):
    network = PoseNetwork(model)
    stages = [torch.zeros(1, 3), torch.ones(1, 3)]
    others = [torch.zeros(1, 3), torch.ones(1, 2)]
    original, model.head.forward = model.head.forward, lambda feats: stages
    try:
        images = torch.zeros(1, 3, 96, 64)
        assert network.outputs(images) == stages[-1:]
        model.head.forward = lambda feats: others
        assert network.outputs(images) is others
    finally:
        model.head.forward = original


@pytest.mark.parametrize(
    'outputs', [torch.ones(2), [torch.ones(2)], (torch.ones(1), torch.ones(2))]
)
def test_outputs_come_back_as_they_were(outputs):
    found = unflatten(flatten(outputs), structure_of(outputs))
    assert type(found) is type(outputs)
    assert len(found) == len(outputs)


@pytest.mark.parametrize('outputs', [dict(a=1), (torch.ones(1), 2), None])
def test_heads_that_give_no_tensors(outputs):
    with pytest.raises(InputError, match='whose forward returns tensors'):
        flatten(outputs)


def test_other_models():
    with pytest.raises(InputError, match='got one of a Linear'):
        PoseNetwork(nn.Linear(1, 1))


def test_recording(model):
    images = torch.randn(2, 3, 96, 64)
    with record_inputs(model) as (found, parts), torch.inference_mode():
        model.extract_feat(images)
        model.extract_feat(images + 1)
    with torch.inference_mode():
        model.extract_feat(images + 2)
    assert parts == {}
    assert len(found) == 2
    torch.testing.assert_close(found[1], images + 1)


@pytest.mark.parametrize('height, width', [(32, 64), (96, 32)])
def test_sizes_for_bottomup_networks(height, width):
    check_size(torch.zeros(1, 3, height, width), 'images')
    for h, w in ((height - 1, width), (height, width + 16)):
        message = rf'images have \(w, h\) = \({w}, {h}\), .* multiples of 32'
        with pytest.raises(InputError, match=message):
            check_size(torch.zeros(1, 3, h, w), 'images')


def test_images_of_a_bottomup_model_have_its_sizes():
    backbone = dict(type='ResNet', depth=18, stem_channels=8, base_channels=8)
    head = dict(type='HeatmapHead', in_channels=64, out_channels=17)
    model = BottomupPoseEstimator(backbone, head=head)
    with record_inputs(model) as (found, _):
        model.backbone(torch.zeros(1, 3, 96, 64))
        with pytest.raises(InputError, match=r'\(176, 144\), expected mult'):
            model.backbone(torch.zeros(1, 3, 144, 176))
    assert len(found) == 2
