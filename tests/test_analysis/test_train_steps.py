import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpose.registry import KEYPOINT_CODECS

from mmpose_ext.analysis.pose_steps import load_step, make_persons
from mmpose_ext.analysis.train_steps import load_train
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError

LOGOCAP = 'logocap_hrnet-w16_1xb4-20e_toy-persons-192x192'
GCCPM = 'gccpm-2stage_ushape_mobilenet-v1-w0.5_1xb8-12e_toy-lip-128x128'


def parameters(call):
    model = call.module.__self__
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_a_step_trains(tiny_config):
    call = load_step(f'train:{tiny_config}', batch=2)
    assert call.name == f'train:{tiny_config}'
    assert call.grad and call.images == 2
    before = parameters(call)
    first = call()['loss'].item()
    changed = [
        k for k, p in parameters(call).items() if (p != before[k]).any()
    ]
    assert set(changed) == set(before)
    assert call.module.__self__.training
    for _ in range(10):
        last = call()['loss'].item()
    assert 0 < last < first


def test_the_optimizer_is_the_configs(tiny_config):
    cfg = load_config(str(tiny_config))
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.5))
    call = load_train(cfg)
    assert call.name == str(tiny_config)
    _, wrapper = call.args
    assert type(wrapper) is OptimWrapper
    assert wrapper.optimizer.param_groups[0]['lr'] == 0.5
    assert isinstance(wrapper.optimizer, torch.optim.SGD)


def test_nothing_is_trained_before_the_first_call(tiny_config):
    call = load_train(load_config(str(tiny_config)))
    assert all(p.grad is None for p in call.module.__self__.parameters())
    assert not call.args[1].optimizer.state


def test_targets_are_the_codecs(tiny_config):
    cfg = load_config(str(tiny_config))
    data, _ = load_train(cfg, batch=2, persons=3).args
    codec = KEYPOINT_CODECS.build(cfg.codec)
    for seed, (image, sample) in enumerate(
        zip(data['inputs'], data['data_samples'])
    ):
        assert image.shape == (3, 96, 64) and image.dtype == torch.uint8
        # A top-down model has one person in an image.
        person = make_persons(1, (64, 96), seed)
        expected = codec.encode(
            person['keypoints'], person['keypoints_visible']
        )
        np.testing.assert_array_equal(
            sample.gt_fields.heatmaps, expected['heatmaps']
        )
    images = data['inputs']
    assert (images[0] != images[1]).any()


def test_bottom_up_images_have_several_persons():
    cfg = load_config(LOGOCAP)
    call = load_train(cfg, batch=1, persons=2)
    (sample,) = call.args[0]['data_samples']
    assert len(sample.gt_instances.keypoints) == 2
    assert sample.gt_fields.heatmap_mask.all()
    assert call()['loss'].isfinite()


def test_other_keypoints_than_cocos():
    cfg = load_config(GCCPM)
    call = load_train(cfg, batch=2)
    sample = call.args[0]['data_samples'][0]
    assert sample.gt_instances.keypoints.shape == (1, 16, 2)
    assert sample.gt_fields.heatmaps.shape == (17, 16, 16)
    assert call()['loss'].isfinite()


@pytest.mark.parametrize(
    ('changes', 'options', 'message'),
    [
        (dict(optim_wrapper=None), {}, "x: expected .* an 'optim_wrapper'"),
        (
            dict(optim_wrapper=dict(optimizer=dict(type='Adem'))),
            {},
            "'Adem'.*did you mean 'Adam'",
        ),
        (dict(train_dataloader=None), {}, "with a 'GenerateTarget'"),
        ({}, dict(shape=(64, 64)), 'is for images of 96x64, got 64x64'),
    ],
)
def test_wrong_config(changes, options, message, tiny_config):
    cfg = load_config(str(tiny_config))
    cfg.update(changes)
    with pytest.raises(InputError, match=message):
        load_train(cfg, 'x', **options)


def test_wrong_model(tiny_config, tiny_detector):
    with pytest.raises(InputError, match='x: expected a pose estimator'):
        load_train(load_config(str(tiny_detector[0])), 'x')
