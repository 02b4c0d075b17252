import pytest
import torch
from torch import nn

from mmpose_ext.models.backbones import MobileNetV1

# Table 1 of the paper: channels and stride of the separable convolutions.
TABLE = [
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *[(512, 1)] * 5,
    *((1024, 2), (1024, 1)),
]


def count(model):
    return sum(p.numel() for p in model.parameters())


def depthwise(model):
    """The depthwise convolutions in order."""
    return [layer.depthwise_conv for stage in model.stages for layer in stage]


def expected_params(table):
    total, channels = 3 * 9 * 32 + 2 * 32, 32
    for out, _ in table:
        total += 9 * channels + 2 * channels + channels * out + 2 * out
        channels = out
    return total


def test_parameters_follow_from_the_papers_table():
    assert count(MobileNetV1()) == expected_params(TABLE)
    # The paper counts the classifier, 4.2 million in all.
    assert expected_params(TABLE) + 1025 * 1000 == 4_231_976


@pytest.mark.parametrize(
    'widen_factor, params, mult_adds',
    [(1.0, 4.2, 569), (0.75, 2.6, 325), (0.5, 1.3, 149), (0.25, 0.5, 41)],
)
def test_costs_of_the_papers_table_6(
    widen_factor, params, mult_adds, count_costs
):
    """With those of the classifier."""
    found, macs = count_costs(
        lambda: MobileNetV1(widen_factor), 1, 3, 224, 224
    )
    channels = int(1024 * widen_factor)
    assert round((found + 1000 * (channels + 1)) / 1e6, 1) == params
    assert round((macs + 1000 * channels) / 1e6) == mult_adds


def test_the_pose_machines_backbone():
    """Section 3.1: no stride in conv4_2, dilation 2 in the next one."""
    model = MobileNetV1(out_indices=(3,), output_stride=8)
    convs = [conv.conv for conv in depthwise(model)]
    assert [c.out_channels for c in convs] == [
        *(32, 64, 128, 128, 256, 256),
        *[512] * 5,
    ]
    assert [c.stride[0] for c in convs] == [1, 2, 1, 2, *[1] * 7]
    assert [c.dilation[0] for c in convs] == [*[1] * 6, 2, *[1] * 4]
    assert all(c.padding == c.dilation for c in convs)
    assert count(model) == expected_params(TABLE[:11])


@pytest.mark.parametrize(
    'output_stride, strides, dilations',
    [
        (32, [2, 4, 8, 16, 32], {}),
        (16, [2, 4, 8, 16, 16], {12: 2}),
        (8, [2, 4, 8, 8, 8], {6: 2, 12: 4}),
        (4, [2, 4, 4, 4, 4], {4: 2, 6: 4, 12: 8}),
    ],
)
def test_maps_of_all_stages(output_stride, strides, dilations):
    model = MobileNetV1(
        widen_factor=0.25, out_indices=range(5), output_stride=output_stride
    )
    found = [conv.dilation[0] for conv in depthwise(model)]
    assert found == [dilations.get(i, 1) for i in range(13)]

    h, w = 64, 33
    maps = model.eval()(torch.rand(2, 3, h, w))
    assert [x.shape for x in maps] == [
        (2, c, -(-h // s), -(-w // s))
        for c, s in zip([16, 32, 64, 128, 256], strides)
    ]


@pytest.mark.parametrize('output_stride', [8, 32])
def test_maps_by_torchs_functions_alone(output_stride, plain_conv, randomise):
    model = randomise(
        MobileNetV1(
            widen_factor=0.25,
            out_indices=(2, 4),
            output_stride=output_stride,
        )
    )
    state = model.state_dict()
    image = torch.randn(2, 3, 40, 33).double()
    x = plain_conv(image, state, 'stem', stride=2, padding=1)
    dilations = {6: 2, 12: 4} if output_stride == 8 else {}
    names = [
        f'stages.{stage}.{i}'
        for stage, depth in enumerate((1, 2, 2, 6, 2))
        for i in range(depth)
    ]
    expected = []
    for i, (name, (_, stride)) in enumerate(zip(names, TABLE)):
        d = dilations.get(i, 1)
        x = plain_conv(
            x,
            state,
            f'{name}.depthwise_conv',
            stride=1 if i in (5, 11) and output_stride == 8 else stride,
            padding=d,
            dilation=d,
            groups=x.shape[1],
        )
        x = plain_conv(x, state, f'{name}.pointwise_conv')
        if name in ('stages.2.1', 'stages.4.1'):
            expected.append(x)

    torch.testing.assert_close(list(model(image)), expected)


def test_channels_are_multiples_of_8():
    """32 and 64 times 0.35 are 11.2 and 22.4, next to 8 and 24."""
    model = MobileNetV1(widen_factor=0.35, out_indices=(0,))
    # 8 would be less than nine tenths of 11.2.
    assert model.stem.out_channels == 16
    assert model(torch.rand(2, 3, 8, 8))[0].shape == (2, 24, 4, 4)
    # 33, 66 and 132: the last is half way from 128 to 136.
    model = MobileNetV1(widen_factor=33 / 64, out_indices=(4,))
    channels = [
        stage[-1].pointwise_conv.out_channels for stage in model.stages
    ]
    assert channels == [32, 64, 136, 264, 528]


def test_only_what_is_needed_is_built():
    model = MobileNetV1(out_indices=(1,))
    assert len(model.stages) == 2
    (x,) = model.eval()(torch.rand(1, 3, 1, 1))
    assert x.shape == (1, 128, 1, 1)


def test_frozen_stages_do_not_change():
    model = MobileNetV1(widen_factor=0.25, out_indices=(2,), frozen_stages=0)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        n
        for n, _ in model.named_parameters()
        if n.startswith(('stages.1', 'stages.2'))
    }
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    model(torch.rand(2, 3, 32, 32))
    changed = {
        '.'.join(k.split('.')[:2])
        for k, v in model.state_dict().items()
        if not torch.equal(v, before[k])
    }
    assert changed == {'stages.1', 'stages.2'}


def test_norm_eval_keeps_the_statistics():
    model = MobileNetV1(widen_factor=0.25, out_indices=(1,), norm_eval=True)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert model.train() is model and model.training
    (x,) = model(torch.rand(2, 3, 32, 32))
    torch.testing.assert_close(dict(model.state_dict()), before)
    x.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_initialisation():
    model = MobileNetV1(widen_factor=0.25, out_indices=(3,))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.zeros_(norm.weight)
    model.init_weights()
    assert len(norms) == 1 + 2 * 11
    assert all((norm.weight == 1).all() for norm in norms)
    weight = model.stages[3][5].pointwise_conv.conv.weight  # fan-out 128
    assert weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)


def test_an_init_cfg_is_for_all_convolutions():
    init_cfg = dict(type='Constant', layer='Conv2d', val=0.5)
    model = MobileNetV1(widen_factor=0.25, init_cfg=init_cfg)
    model.init_weights()
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert all((conv.weight == 0.5).all() for conv in convs)


def test_refuses_wrong_arguments():
    for argument, wrong, message in (
        ('out_indices', (), r'a list .* got \(\)'),
        ('out_indices', (3, 5), '3, 4, got 5'),
        ('out_indices', (-1,), 'got -1'),
        ('output_stride', 2, '4, 8, 16, 32, got 2'),
        ('frozen_stages', 5, '3, 4, got 5'),
        ('frozen_stages', -2, 'one of -1, 0, .* got -2'),
        ('widen_factor', 0, 'above 0, got 0'),
    ):
        with pytest.raises(ValueError, match=rf'^{argument}\b.* {message}'):
            MobileNetV1(**{argument: wrong})
