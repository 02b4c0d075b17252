"""Learning rates and weight decays of parameters, by patterns."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpose.registry import MODELS
from torch import nn

# The official training of the global-context pose machine, as its config has
# it.
OFFICIAL = Config.fromfile(
    Path(__file__).parents[2] / 'configs/gccpm/'
    'gccpm-6stage_ushape_mobilenet-v1_1xb32-100e_lip-256x256.py'
).optim_wrapper


def build(model, patterns, optimizer=None, **options):
    """The settings (lr, weight decay) of a model's trained parameters."""
    optimizer = optimizer or dict(type='SGD', lr=1.0, weight_decay=0.1)
    cfg = dict(
        constructor='PatternOptimWrapperConstructor',
        optimizer=optimizer,
        paramwise_cfg=dict(patterns=patterns, **options),
    )
    return settings(model, cfg)


def settings(model, cfg):
    with DefaultScope.overwrite_default_scope('mmpose'):
        wrapper = build_optim_wrapper(model, cfg)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {}
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            found[names[id(parameter)]] = group['lr'], group['weight_decay']
    return found


def make_model():
    return nn.ModuleDict(
        dict(
            first=nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)),
            second=nn.Linear(3, 4),
        )
    )


def test_multipliers_of_all_patterns_multiply():
    found = build(
        make_model(),
        [
            dict(regex=r'bias$', lr_mult=2, decay_mult=0),
            dict(regex=r'^second', lr_mult=4),
            dict(regex=r'^first\.\d\.weight', decay_mult=0.5),
        ],
    )
    assert found == {
        'first.0.weight': (1.0, 0.05),
        'first.0.bias': (2.0, 0.0),
        'first.1.weight': (1.0, 0.05),
        'first.1.bias': (2.0, 0.0),
        'second.weight': (4.0, 0.1),
        'second.bias': (8.0, 0.0),
    }


def test_patterns_multiply_mmengines_options():
    found = build(
        make_model(),
        [dict(regex='^first', lr_mult=3, decay_mult=5)],
        bias_lr_mult=2,
        norm_decay_mult=0,
    )
    assert found['first.0.bias'] == (6.0, 0.5)
    assert found['first.1.weight'] == (3.0, 0.0)
    assert found['second.bias'] == (2.0, 0.1)


def test_frozen_parameters_get_none():
    model = make_model()
    model['second'].requires_grad_(False)
    found = build(model, [dict(regex='weight', lr_mult=2)])
    assert set(found) == {
        f'first.{i}.{kind}' for i in (0, 1) for kind in ('weight', 'bias')
    }
    with pytest.raises(ValueError, match=r"'\^second' is found in the name"):
        build(model, [dict(regex='^second', lr_mult=2)])


@pytest.mark.parametrize(
    'pattern, message',
    [
        (dict(regex='third'), "pattern 'third' is found in the name of no"),
        (dict(regex='(', lr_mult=2), r"'\(' is not a regular expression"),
        (dict(regex=2, lr_mult=2), '2 is not a regular expression'),
        (dict(lr_mult=2), "expected a pattern of 'regex'.*lr_mult': 2"),
        (dict(regex='bias', mult=2), "expected a pattern .*'mult': 2"),
        ('bias', "expected a pattern of 'regex', .* got bias"),
        (dict(regex='bias', lr_mult='2'), "lr_mult .* got '2'"),
        (dict(regex='bias', lr_mult=-1), 'lr_mult .* got -1'),
        (dict(regex='bias', decay_mult=float('nan')), 'decay_mult .* got nan'),
        (dict(regex='bias', decay_mult=None), 'decay_mult .* got None'),
    ],
)
def test_refuses_wrong_patterns(pattern, message):
    with pytest.raises(ValueError, match=message):
        build(make_model(), [pattern])
    with pytest.raises(ValueError, match='patterns must be a list of dicts'):
        build(make_model(), pattern)


@pytest.mark.parametrize(
    'mult, missing', [('lr_mult', 'lr'), ('decay_mult', 'weight_decay')]
)
def test_refuses_multipliers_of_nothing(mult, missing):
    optimizer = dict(type='SGD', lr=1.0, weight_decay=0.1)
    del optimizer[missing]
    with pytest.raises(ValueError, match=f'multiplies {missing}, which'):
        build(make_model(), [{'regex': 'bias', mult: 2}], optimizer)


def test_official_settings_of_the_global_context_machine():
    model = MODELS.build(
        dict(
            type='TopdownPoseEstimator',
            backbone=dict(
                type='MobileNetV1', widen_factor=0.25, out_indices=(3,)
            ),
            head=dict(
                type='GCCPMHead',
                in_channels=128,
                out_channels=4,
                num_stages=3,
                context=dict(type='UShapedContext'),
                feat_channels=8,
            ),
        )
    )
    found = settings(model, OFFICIAL)
    lr, decay = 4e-5, 5e-4
    # Learning rate and decay of weights, and of biases.
    kinds = dict(
        norm=((lr, 0), (2 * lr, 0)),
        depthwise=((lr, 0), None),
        conv=((lr, decay), (2 * lr, 0)),
        refinement=((4 * lr, decay), (8 * lr, 0)),
    )

    def kind_of(name, module):
        if isinstance(module, nn.BatchNorm2d):
            return 'norm'
        if module.groups > 1:
            return 'depthwise'
        return 'refinement' if 'refinement_stages' in name else 'conv'

    expected = {}
    for name, module in model.named_modules():
        for key, _ in module.named_parameters(recurse=False):
            pair = kinds[kind_of(name, module)]
            expected[f'{name}.{key}'] = pair[key == 'bias']
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-9), name
