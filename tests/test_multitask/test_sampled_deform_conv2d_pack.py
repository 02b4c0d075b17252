import pytest
import torch
from mmcv.cnn import build_conv_layer
from mmcv.ops import DeformConv2dPack

from mmpose_ext.multitask import SampledDeformConv2dPack

SETTINGS = [
    dict(kernel_size=3, padding=1),
    dict(kernel_size=3, padding=1, stride=2),
    dict(kernel_size=3, padding=2, dilation=2, groups=2),
    dict(kernel_size=3, padding=1, deform_groups=2),
    dict(kernel_size=(1, 3), padding=(0, 1), stride=(1, 2), deform_groups=4),
]


def make_pair(**settings):
    """mmcv's and ours, with the same weights and offsets of a few cells."""
    torch.manual_seed(0)
    theirs = DeformConv2dPack(4, 6, **settings)
    torch.nn.init.normal_(theirs.conv_offset.weight, std=0.5)
    ours = SampledDeformConv2dPack(4, 6, **settings)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize('settings', SETTINGS)
def test_it_is_mmcvs(settings):
    """Outputs, and the gradients of input, weights and offsets."""
    theirs, ours = (m.double() for m in make_pair(**settings))
    x = torch.randn(3, 4, 7, 9, dtype=torch.float64)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [module(i) for module, i in zip((theirs, ours), inputs)]
    torch.testing.assert_close(outputs[1], outputs[0])
    direction = torch.randn_like(outputs[0])
    for output in outputs:
        (output * direction).sum().backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(a.grad, b.grad)


def test_a_config_can_name_it():
    layer = build_conv_layer(
        dict(type='SampledDCN', deform_groups=1), 4, 6, 3, padding=1
    )
    assert type(layer) is SampledDeformConv2dPack
    assert isinstance(layer, DeformConv2dPack)
    # Offsets of 0: a plain convolution.
    x = torch.randn(2, 4, 5, 6)
    plain = torch.nn.functional.conv2d(x, layer.weight, padding=1)
    torch.testing.assert_close(layer(x), plain, rtol=1e-4, atol=1e-5)


def test_any_number_of_maps():
    """mmcv's operator refuses 37, which its steps of 32 do not divide."""
    theirs, ours = make_pair(**SETTINGS[0])
    x = torch.randn(37, 4, 5, 5)
    with pytest.raises(AssertionError):
        theirs(x)
    torch.testing.assert_close(ours(x)[20:21], ours(x[20:21]))


@torch.no_grad()
def test_it_is_exported_for_any_size():
    _, layer = make_pair(**SETTINGS[0])
    sizes = [{i: torch.export.Dim(f'size{i}') for i in (0, 2, 3)}]
    program = torch.export.export(
        layer, (torch.rand(2, 4, 7, 9),), dynamic_shapes=sizes, strict=False
    )
    x = torch.rand(3, 4, 12, 5)
    torch.testing.assert_close(program.module()(x), layer(x))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_reads_at_the_right_places(dtype):
    layer = build_conv_layer(dict(type='SampledDCN'), 1, 1, 3, padding=1)
    torch.nn.init.dirac_(layer.weight)
    ramp = torch.arange(160.0).expand(1, 1, 96, 160)
    with torch.autocast('cpu', dtype=dtype):
        same = layer(ramp)
    # As exact as the numbers themselves are.
    torch.testing.assert_close(same.float(), ramp, rtol=0.01, atol=0.01)


def test_a_backbone_from_random_weights_has_no_offsets(make_model):
    """mmcv's own would have been initialised like plain convolutions."""
    model = make_model()
    sampled = make_model(conv='SampledDCN')
    for network, is_zero in ((model, False), (sampled, True)):
        block = network.backbone.layer3[0]
        assert block.conv1.weight.abs().max() > 0
        assert (block.conv2.conv_offset.weight == 0).all() == is_zero
