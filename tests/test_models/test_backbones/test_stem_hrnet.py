import copy

import pytest
import torch
from mmpose.models import HRNet

from mmpose_ext.models.backbones import StemHRNet

CHANNELS = (4, 8, 16, 32)


def stage(branches, block='BASIC', multiscale_output=True):
    return dict(
        num_modules=1,
        num_branches=branches,
        block=block,
        num_blocks=(1,) * branches,
        num_channels=CHANNELS[:branches],
        multiscale_output=multiscale_output,
    )


EXTRA = dict(
    stage1=stage(1, 'BOTTLENECK'),
    stage2=stage(2),
    stage3=stage(3),
    stage4=stage(4),
)


def make_pair(**kwargs):
    """MMPose's HRNet and ours with its weights."""
    torch.manual_seed(0)
    plain = HRNet(copy.deepcopy(EXTRA))
    ours = StemHRNet(copy.deepcopy(EXTRA), **kwargs)
    ours.load_state_dict(plain.state_dict())
    for net in (plain, ours):
        net.eval()
    return plain, ours


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_is_hrnet_by_default():
    plain, ours = make_pair()
    x = torch.randn(1, 3, 64, 96)
    assert_equal(ours(x), plain(x))


def test_hands_its_options_to_the_stages():
    options = dict(with_cp=True, conv_cfg=dict(type='ConvWS'))
    plain = HRNet(copy.deepcopy(EXTRA), **options)
    ours = StemHRNet(copy.deepcopy(EXTRA), **options)
    for a, b in zip(plain.stage4.modules(), ours.stage4.modules()):
        assert type(a).__name__ == type(b).__name__
        assert getattr(a, 'with_cp', None) == getattr(b, 'with_cp', None)


def test_gives_the_map_between_the_stems_convolutions_first():
    plain, ours = make_pair(with_stem_map=True)
    x = torch.randn(1, 3, 64, 96)
    stem, *maps = ours(x)
    assert_equal(tuple(maps), plain(x))
    assert_equal(stem, torch.relu(plain.bn1(plain.conv1(x))))
    assert stem.shape == (1, 64, 32, 48)
    # Nothing of the first call is kept.
    assert len(ours(x)) == 5
    assert not ours.conv2._forward_pre_hooks


def test_gradients_reach_the_stem_through_its_map():
    _, ours = make_pair(with_stem_map=True)
    ours(torch.randn(1, 3, 64, 64))[0].square().mean().backward()
    assert ours.conv1.weight.grad.abs().max() > 0
    assert ours.conv2.weight.grad is None


def test_stem_stride_2_doubles_all_maps():
    plain, ours = make_pair(stem_stride=2)
    x = torch.randn(1, 3, 64, 96)
    for a, e in zip(ours(x), plain(x)):
        assert a.shape == (*e.shape[:2], 2 * e.shape[2], 2 * e.shape[3])

    # Every second cell of the stem's output is HRNet's.
    seen = []
    for net in (plain, ours):
        net.bn2.register_forward_hook(lambda *args: seen.append(args[1][0]))
        net(x)
    torch.testing.assert_close(seen[1][..., ::2, ::2], seen[0])


def test_refuses_wrong_arguments():
    with pytest.raises(
        ValueError, match='stem_stride must be one of 2, 4, got 1'
    ):
        StemHRNet(EXTRA, stem_stride=1)
    with pytest.raises(ValueError, match='needs stem_stride=4'):
        StemHRNet(EXTRA, stem_stride=2, with_stem_map=True)
