import numpy as np
import pytest
import torch
from mmpose.registry import MODELS
from torch import nn

from mmpose_ext.models.layers import UShapedContext
from mmpose_ext.models.necks import ContextNeck

CONTEXTS = [
    dict(type='UShapedContext'),
    dict(type='ASPPContext', mid_channels=6, neck_channels=4),
    dict(type='PyramidPoolingContext', mid_channels=4),
]


def ids(context):
    return context['type']


@pytest.mark.parametrize('context', CONTEXTS, ids=ids)
def test_each_map_goes_through_a_module_of_its_own(context, randomise):
    neck = randomise(ContextNeck([4, 6], context))
    maps = [torch.randn(2, *s).double() for s in ((4, 9, 7), (6, 5, 4))]
    outs = neck(maps)
    assert isinstance(outs, tuple)
    for i, (x, out) in enumerate(zip(maps, outs)):
        alone = MODELS.build(dict(context, in_channels=x.shape[1]))
        alone.double().eval()
        prefix = f'contexts.{i}.'
        alone.load_state_dict(
            {
                key[len(prefix) :]: value
                for key, value in neck.state_dict().items()
                if key.startswith(prefix)
            }
        )
        torch.testing.assert_close(out, alone(x))


@pytest.mark.parametrize('in_channels', [4, np.int64(4), np.array([4])])
def test_one_map(in_channels):
    neck = ContextNeck(in_channels, dict(type='UShapedContext'))
    assert isinstance(neck.contexts[0], UShapedContext)
    assert neck.in_channels == [4] and type(neck.in_channels[0]) is int
    (out,) = neck((torch.rand(2, 4, 6, 5),))
    assert out.shape == (2, 4, 6, 5)


def test_refuses_other_channels_and_maps():
    for wrong in ([], 0, [4, -1]):
        with pytest.raises(ValueError, match=r'in_channels.* must be .* got'):
            ContextNeck(wrong, dict(type='UShapedContext'))
    neck = ContextNeck([4, 6], dict(type='UShapedContext'))
    maps = [torch.rand(1, 4, 3, 2), torch.rand(1, 6, 3, 2)]
    with pytest.raises(ValueError, match=r'\[4, 6\] channels, got .*\(6, 3'):
        neck(maps[::-1])


def test_init_cfg_reaches_the_modules():
    init_cfg = dict(type='Constant', val=0.5, layer='BatchNorm2d')
    neck = ContextNeck(4, dict(type='UShapedContext', init_cfg=init_cfg))
    neck.init_weights()
    norms = [m for m in neck.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 8
    assert all((norm.weight == 0.5).all() for norm in norms)


def test_maps_may_be_of_any_sizes():
    neck = ContextNeck([4, 6], dict(type='UShapedContext'))
    maps = [torch.rand(2, 4, 5, 3), torch.rand(2, 6, 5, 7)]
    assert [x.shape for x in neck(maps)] == [x.shape for x in maps]
