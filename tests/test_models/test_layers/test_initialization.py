"""A user's ``init_cfg`` reaches every convolution; the default stays."""

import pytest
import torch
from mmcv.cnn import ConvModule
from mmpose.registry import MODELS
from torch import nn

ASPP = dict(type='ASPPContext', mid_channels=4, neck_channels=3)
PYRAMID = dict(type='PyramidPoolingContext', mid_channels=3)
HEAD = dict(
    type='GCCPMHead',
    in_channels=4,
    out_channels=3,
    num_stages=2,
    feat_channels=4,
    reduction_channels=5,
    initial_channels=6,
    context=ASPP,
)
# Modules, and a ConvModule each that MMEngine initializes after them.
CASES = {
    'GPRNeck': (dict(type='GPRNeck', in_channels=[4, 6]), 'out'),
    'ASPPContext.reduce': (dict(ASPP, in_channels=4), 'reduce'),
    'ASPPContext.fuse': (dict(ASPP, in_channels=4), 'fuse'),
    'PyramidPoolingContext': (dict(PYRAMID, in_channels=4), 'fuse'),
    'UShapedContext': (
        dict(type='UShapedContext', in_channels=4),
        'encoder1.0',
    ),
    'MobileNetV1': (
        dict(type='MobileNetV1', widen_factor=0.25, out_indices=(1,)),
        'stem',
    ),
    'ContextNeck': (
        dict(type='ContextNeck', in_channels=4, context=ASPP),
        'contexts.0.reduce',
    ),
    'SequentialNeck': (
        dict(
            type='SequentialNeck',
            necks=[
                dict(type='ContextNeck', in_channels=[4, 6], context=ASPP),
                dict(type='GPRNeck', in_channels=[4, 6]),
            ],
        ),
        'necks.1.out',
    ),
    'GCCPMHead on features': (
        dict(HEAD, context_position='features'),
        'context.reduce',
    ),
    'GCCPMHead in stages': (HEAD, 'refinement_stages.0.context.reduce'),
}


def build(name, **kwargs):
    cfg, part = CASES[name]
    torch.manual_seed(0)
    module = MODELS.build(dict(cfg, **kwargs))
    return module, module.get_submodule(part)


@pytest.mark.parametrize('name', CASES)
def test_constants_reach_all_convolutions(name):
    init_cfg = [
        dict(type='Constant', val=0.25, layer='Conv2d'),
        dict(type='Constant', val=0.5, bias=2, layer='BatchNorm2d'),
    ]
    module, part = build(name, init_cfg=init_cfg)
    module.init_weights()
    assert isinstance(part, ConvModule)
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            assert (m.weight == 0.25).all()
        elif isinstance(m, nn.BatchNorm2d):
            assert (m.weight == 0.5).all() and (m.bias == 2).all()


@pytest.mark.parametrize('name', CASES)
def test_a_normal_and_its_override(name):
    init_cfg = dict(
        type='Normal',
        std=1e-5,
        layer='Conv2d',
        override=dict(
            type='Constant', val=3, name=CASES[name][1].split('.')[0]
        ),
    )
    module, part = build(name, init_cfg=init_cfg)
    module.init_weights()
    assert (part.conv.weight == 3).all()
    others = [
        m.weight.abs().max()
        for m in module.modules()
        if isinstance(m, nn.Conv2d) and (m.weight != 3).any()
    ]
    assert max(others, default=0) < 1e-4


@pytest.mark.parametrize('name', CASES)
def test_pretrained_weights(name, tmp_path):
    source, _ = build(name)
    for value in source.state_dict().values():
        value.fill_(7)
    torch.save(source.state_dict(), tmp_path / 'weights.pth')
    init_cfg = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'weights.pth')
    )
    module, _ = build(name, init_cfg=init_cfg)
    module.init_weights()
    assert all((value == 7).all() for value in module.state_dict().values())


@pytest.mark.parametrize('name', CASES)
def test_what_init_cfg_leaves_out_stays_as_built(name):
    module, part = build(
        name, init_cfg=dict(type='Constant', val=0.5, layer='BatchNorm2d')
    )
    before = part.conv.weight.clone()
    module.init_weights()
    torch.testing.assert_close(part.conv.weight, before, rtol=0, atol=0)


@pytest.mark.parametrize('name', ['GPRNeck', 'ASPPContext.reduce'])
def test_the_default_is_mmcvs_with_the_same_draws(name):
    module, part = build(name)
    torch.manual_seed(1)
    module.init_weights()
    actual = part.conv.weight.clone()
    torch.manual_seed(1)
    part.init_weights()
    torch.testing.assert_close(actual, part.conv.weight, rtol=0, atol=0)


def test_the_default_of_mobilenet_draws_its_stem_last():
    model, stem = build('MobileNetV1')
    torch.manual_seed(1)
    model.init_weights()
    actual = stem.conv.weight.clone()
    torch.manual_seed(1)
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode='fan_out')
    stem.init_weights()
    torch.testing.assert_close(actual, stem.conv.weight, rtol=0, atol=0)
