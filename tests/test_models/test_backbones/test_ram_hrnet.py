import copy

import pytest
import torch
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmpose.models import HRNet
from mmpose.registry import MODELS

from mmpose_ext.models.backbones import RAMHRNet


def stage(branches, modules=1, block='BASIC'):
    return dict(
        num_modules=modules,
        num_branches=branches,
        block=block,
        num_blocks=(1,) * branches,
        num_channels=[8 << i for i in range(branches)],
        multiscale_output=True,
    )


EXTRA = dict(
    stage1=stage(1, block='BOTTLENECK'),
    stage2=stage(2),
    stage3=stage(3, 2),
    stage4=stage(4, 2),
)
# A gain that keeps the signal alive; HRNet's own std of 0.001 would not.
INIT = dict(type='Kaiming', layer='Conv2d')


def make_pair(**extra):
    """MMPose's HRNet and ours with its weights."""
    torch.manual_seed(0)
    cfg = dict(extra=dict(copy.deepcopy(EXTRA), **extra), init_cfg=INIT)
    plain, ours = HRNet(**cfg), RAMHRNet(**cfg)
    plain.init_weights()
    ours.init_weights()
    missing, unexpected = ours.load_state_dict(
        plain.state_dict(), strict=False
    )
    assert not unexpected
    assert missing and all('.attention.' in key for key in missing)
    return plain, ours


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('upsample', ['nearest', 'bilinear'])
def test_equals_hrnet_with_its_weights(training, upsample):
    corners = None if upsample == 'nearest' else False
    plain, ours = make_pair(
        upsample=dict(mode=upsample, align_corners=corners)
    )
    x = torch.randn(2, 3, 64, 96)
    plain.train(training)
    ours.train(training)
    expected, actual = plain(x), ours(x)
    assert len(actual) == 4
    for a, e in zip(actual, expected):
        assert e.abs().max() > 1e-2
        torch.testing.assert_close(a, e, rtol=0, atol=0)


def test_takes_the_configs_of_hrnetv2():
    """Which upsample bilinearly, and return all four maps."""
    cfg = get_config(
        'mmpose::face_2d_keypoint/topdown_heatmap/wflw/'
        'td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256.py'
    ).model.backbone
    assert cfg.extra.upsample.mode == 'bilinear'
    with torch.device('meta'):
        ours = MODELS.build(dict(cfg, type='RAMHRNet'))
        maps = ours(torch.empty(1, 3, 64, 64))
    assert [x.shape[1:] for x in maps] == [
        (18 << i, 16 >> i, 16 >> i) for i in range(4)
    ]


def test_single_output_when_the_last_stage_is_not_multiscale():
    ours = RAMHRNet(
        dict(EXTRA, stage4=dict(EXTRA['stage4'], multiscale_output=False))
    )
    assert len(ours.stage4[-1].attention) == 1
    assert [x.shape for x in ours(torch.rand(1, 3, 64, 64))] == [
        (1, 8, 16, 16)
    ]


def test_every_score_learns_from_the_first_step():
    _, ours = make_pair()
    sum(x.square().mean() for x in ours(torch.randn(2, 3, 64, 64))).backward()
    attention = {
        k: v for k, v in ours.named_parameters() if '.attention.' in k
    }
    # stages 2, 3, 4: 1, 2, 2 modules with 2, 3, 4 outputs, 4 tensors each
    assert len(attention) == 4 * (2 + 2 * 3 + 2 * 4)
    for name, parameter in attention.items():
        assert parameter.grad.abs().max() > 0, name


def test_weights_scale_the_terms_of_the_fusion():
    """omega and beta chosen so that only one input of an output remains."""
    _, ours = make_pair()
    module = ours.stage2[0].eval()
    with torch.no_grad():
        module.attention[0].omega.zero_()
        module.attention[0].beta.copy_(torch.tensor([0.0, 2.0]))
    x = [torch.randn(1, 8, 16, 16), torch.randn(1, 16, 8, 8)]
    low = module.branches[1](x[1])
    expected = torch.relu(2 * module.fuse_layers[0][1](low))
    torch.testing.assert_close(module(x)[0], expected)


def test_runs_in_mixed_precision():
    _, ours = make_pair()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        maps = ours(torch.randn(1, 3, 64, 64))
    assert all(x.isfinite().all() for x in maps)


def test_costs_8904_parameters_at_width_32():
    extra = copy.deepcopy(EXTRA)
    for i, (modules, width) in enumerate(zip((1, 4, 3), (2, 3, 4)), start=2):
        extra[f'stage{i}'].update(
            num_modules=modules, num_channels=[32 << b for b in range(width)]
        )
    with torch.device('meta'):
        count = [
            sum(p.numel() for p in cls(extra).parameters())
            for cls in (RAMHRNet, HRNet)
        ]
    assert count[0] - count[1] == 8904


def test_attention_can_stay_out_of_weight_decay():
    """The line that the docstring gives, through MMEngine's constructor."""
    ours = RAMHRNet(EXTRA)
    keys = dict(custom_keys={'attention': dict(decay_mult=0)})
    wrapper = build_optim_wrapper(
        ours,
        dict(
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1),
            paramwise_cfg=keys,
        ),
    )
    decay = {
        id(parameter): group['weight_decay']
        for group in wrapper.param_groups
        for parameter in group['params']
    }
    for name, parameter in ours.named_parameters():
        assert decay[id(parameter)] == (0 if '.attention.' in name else 0.1)
