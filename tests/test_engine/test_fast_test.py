import copy
import logging

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpose.apis.inference import dataset_meta_from_config
from mmpose.models import TopdownPoseEstimator
from mmpose.registry import MODELS
from mmpose.testing import get_packed_inputs
from torch import nn

from mmpose_ext.analysis import load_network
from mmpose_ext.engine import fast_test
from mmpose_ext.engine.config import load_config
from mmpose_ext.engine.fast_test import (
    keep_freed_memory,
    speed_up,
    use_fused_flip,
)
from mmpose_ext.engine.hooks import FastTestHook


@pytest.fixture
def model(tiny_config):
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(tiny_config).model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture
def warnings(monkeypatch):
    found = []

    def print_log(message, logger, level):
        assert level == logging.WARNING
        found.append(message)

    monkeypatch.setattr(fast_test, 'print_log', print_log)
    return found


def has_norms(model):
    return any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


@pytest.mark.parametrize('given', [True, False])
def test_a_copy_without_norms_gives_the_same(model, given, warnings):
    before = copy.deepcopy(model.state_dict())
    images = torch.randn(2, 3, 96, 64)
    fast = speed_up(model, *([images] if given else []))
    assert type(fast) is type(model)
    assert has_norms(model) and not has_norms(fast)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    weight = fast.backbone.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        want, got = (m(images, None, mode='tensor') for m in (model, fast))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)
    assert warnings == []


@pytest.mark.parametrize(
    ('change', 'message'),
    [(0.9e-4, None), (-1.1e-4, '1.1e-04'), (1.1e-4, '1.1e-04'),
     (float('nan'), 'nan')],
)  # fmt: skip
def test_the_tolerance_is_1e_4_of_the_largest_output(
    change, message, model, warnings, monkeypatch
):
    def scale(network, run):
        """All outputs grow or shrink by the same part of them."""
        for parameter in network.head.final_layer.parameters():
            parameter.data *= 1 + change

    monkeypatch.setattr(fast_test, 'fold_batch_norms', scale)
    # Whatever the outputs are in size.
    for parameter in model.head.final_layer.parameters():
        parameter.data *= 50
    assert (speed_up(model) is model) == (message is not None)
    found = [warning.rpartition('change by ')[2] for warning in warnings]
    assert found == [message] * (message is not None)


def test_a_head_inside_another(visibility_config, warnings):
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(visibility_config).model)
    fast = speed_up(model)  # of an image of its codec's size
    assert has_norms(model) and not has_norms(fast)
    assert warnings == []
    images = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        want, got = (m(images, None, mode='tensor') for m in (model, fast))
        feats = fast.extract_feat(images)
        maps = fast.head.pose_head(feats)
    for a, b in zip(want, got):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-6)
    # What MMPose's flip test of offsets needs.
    assert maps.is_contiguous()


def test_unknown_input_size(model, warnings):
    model.head.decoder = None
    assert speed_up(model) is model
    assert 'no input_size' in warnings[0]
    assert speed_up(model, torch.randn(1, 3, 96, 64)) is not model


@pytest.mark.parametrize(
    ('name', 'fused'),
    [
        ('TopdownPoseEstimator', 'Topdown'),
        ('mmpose.TopdownPoseEstimator', 'Topdown'),
        (TopdownPoseEstimator, 'Topdown'),
        ('BottomupPoseEstimator', 'Bottomup'),
        ('PoseLifter', None),
        ('FasterRCNN', None),
    ],
)
def test_estimators_of_mmpose_flip_in_one_pass(name, fused):
    cfg = Config(dict(model=dict(type=name, test_cfg=dict(flip_test=True))))
    use_fused_flip(cfg)
    want = f'mmpose.FusedFlip{fused}PoseEstimator' if fused else name
    assert cfg.model == dict(type=want, test_cfg=dict(flip_test=True))


def test_hook_finds_the_estimator(model):
    class Runner:
        pass

    runner = Runner()
    runner.model = model
    FastTestHook().before_test(runner)
    assert isinstance(runner.model, TopdownPoseEstimator)
    assert not has_norms(runner.model)

    cfg = dict(type='MultiScaleHeatmapTTA', module=model)
    runner.model = tta = MODELS.build(cfg)
    FastTestHook().before_test(runner)
    assert runner.model is tta
    assert not has_norms(tta.module)

    runner.model = other = nn.Sequential(nn.BatchNorm2d(1))
    FastTestHook().before_test(runner)
    assert runner.model is other and has_norms(other)


@pytest.mark.parametrize(
    ('name', 'left'),
    [
        ('ram-gpr_hrnet-w16_1xb8-15e_toy-persons-128x96', 0),
        ('psm_hrnet-w8_1xb8-10e_toy-persons-128x96', 0),
        ('gccpm-2stage_ushape_mobilenet-v1-w0.5_1xb8-12e_toy-lip-128x128', 0),
        ('logocap_hrnet-w16_1xb4-20e_toy-persons-192x192', 3),
    ],
)
@torch.no_grad()
def test_poses_of_a_flip_test(name, left, warnings):
    """With all that a test does, also to the maps of the mirror images.

    Norms whose input is used elsewhere are left.
    """
    torch.manual_seed(0)
    cfg = load_config(name)
    cfg.model.test_cfg.flip_test = True
    # Its steps on maps without peaks would make much of rounding.
    cfg.model.head.decoder.pop('unbiased', None)
    use_fused_flip(cfg)
    torch.manual_seed(0)
    model, images, _ = load_network(cfg, batch=2)
    for module in model.modules():  # maps would hardly vary otherwise
        if isinstance(module, nn.BatchNorm2d):
            module.train().momentum = 1
    model.extract_feat(images)
    model.eval()
    if hasattr(model.head.decoder, 'decode_thr'):
        model.head.decoder.decode_thr = -1  # everyone is found
    h, w = images.shape[2:]
    samples = get_packed_inputs(2, img_shape=(h, w), input_size=(w, h))
    samples = samples['data_samples']
    for sample in samples:
        sample.set_metainfo(dataset_meta_from_config(cfg, 'test'))
    fast = speed_up(model, images)
    norms = [m for m in fast.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == left
    want = model.predict(images, copy.deepcopy(samples))
    got = fast.predict(images, copy.deepcopy(samples))
    for a, b in zip(want, got):
        expected, found = a.pred_instances, b.pred_instances
        assert len(expected) == len(found) > 0
        for key in ('keypoints', 'keypoint_scores'):
            np.testing.assert_allclose(
                found[key], expected[key], rtol=1e-3, atol=1e-3
            )
    assert warnings == []


def test_memory_can_be_kept_anywhere(monkeypatch):
    keep_freed_memory()  # as the system has it
    calls = []

    class Library:
        def __init__(self, name):
            pass

        def mallopt(self, option, value):
            calls.append((option, value))

    monkeypatch.setattr(fast_test.ctypes, 'CDLL', Library)
    keep_freed_memory()
    assert calls == [(-4, 0), (-1, 2**31 - 1)]
    del Library.mallopt
    keep_freed_memory()
