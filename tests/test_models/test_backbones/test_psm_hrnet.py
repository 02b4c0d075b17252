import copy
import logging

import pytest
import torch
from mmengine.hub import get_config
from mmengine.logging import MMLogger
from mmengine.runner import load_checkpoint
from mmpose.models import HRNet
from mmpose.registry import MODELS
from torch import nn

from mmpose_ext.models.backbones import PSMHRNet

CHANNELS = (8, 16, 32, 64)


def stage(branches, modules=1, block='BASIC', multiscale_output=True):
    return dict(
        num_modules=modules,
        num_branches=branches,
        block=block,
        num_blocks=(1,) * branches,
        num_channels=CHANNELS[:branches],
        multiscale_output=multiscale_output,
    )


def make_extra(multiscale_output=True, **extra):
    return dict(
        stage1=stage(1, block='BOTTLENECK'),
        stage2=stage(2),
        stage3=stage(3, modules=2),
        stage4=stage(4, modules=2, multiscale_output=multiscale_output),
        **extra,
    )


def make_plain(multiscale_output=True, **kwargs):
    """MMPose's HRNet with all its weights and statistics at random."""
    torch.manual_seed(0)
    plain = HRNet(make_extra(multiscale_output), **kwargs)
    for m in plain.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight)
        elif isinstance(m, (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)):
            nn.init.uniform_(m.weight, 0.2, 0.8)
            nn.init.normal_(m.bias, std=0.2)
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(m.running_mean)
            nn.init.uniform_(m.running_var, 0.5, 2)
            m.num_batches_tracked.fill_(7)
    return plain


def make_ours(multiscale_output=True, **kwargs):
    torch.manual_seed(1)
    return PSMHRNet(make_extra(multiscale_output), **kwargs)


def is_psm(name):
    return '.fusions.' in name


def assert_same_maps(ours, plain, training=False, atol=1e-5):
    for net in (ours, plain):
        net.train(training)
    x = torch.randn(2, 3, 64, 96)
    actual, expected = ours(x), plain(x)
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected):
        assert e.abs().max() > 1e-2
        torch.testing.assert_close(a, e, rtol=0, atol=atol)


def run_two_steps(net):
    """A few steps of training, and what comes of it in evaluation."""
    torch.manual_seed(2)
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    for _ in range(2):
        maps = net(torch.randn(2, 3, 64, 64))
        optimizer.zero_grad()
        sum(x.square().mean() for x in maps).backward()
        optimizer.step()


@pytest.mark.parametrize('multiscale_output', [False, True])
def test_equals_hrnet_with_its_weights(multiscale_output):
    """In training, and with the running statistics of that step."""
    plain, ours = make_plain(multiscale_output), make_ours(multiscale_output)
    ours.load_state_dict(plain.state_dict())
    for training in (False, True, False):
        assert_same_maps(ours, plain, training)
    norm = ours.stage2[0].fusions[0].ups[0][1]
    assert norm.num_batches_tracked == 8


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(norm_cfg=dict(type='GN', num_groups=4)),
        dict(norm_eval=True),
        dict(with_cp=True),
        dict(frozen_stages=3),
    ],
    ids=lambda kwargs: next(iter(kwargs)),
)
def test_equals_hrnet_with_its_options(kwargs):
    plain, ours = make_plain(**kwargs), make_ours(**kwargs)
    ours.load_state_dict(plain.state_dict())
    assert_same_maps(ours, plain, training=True)


def test_stem_stride_2_is_hrnet_with_another_stem():
    plain, ours = make_plain(), make_ours(stem_stride=2)
    ours.load_state_dict(plain.state_dict())
    plain.conv2.stride = (1, 1)
    assert_same_maps(ours, plain)
    assert ours(torch.randn(1, 3, 64, 64))[0].shape == (1, 8, 32, 32)


def test_frozen_stages_freeze_their_fusions():
    ours = make_ours(frozen_stages=3)
    for name, parameter in ours.named_parameters():
        if is_psm(name):
            assert parameter.requires_grad == name.startswith('stage4')


@pytest.mark.parametrize('expansion', ['full', 'literal'])
@pytest.mark.parametrize('start', ['hrnet', 'scratch'])
def test_every_parameter_learns(start, expansion):
    ours = make_ours(expansion=expansion)
    if start == 'hrnet':
        ours.load_state_dict(make_plain().state_dict(), strict=False)
    else:
        ours.init_weights()
    before = copy.deepcopy(ours.state_dict())
    run_two_steps(ours)
    learned = [name for name, _ in ours.named_parameters() if is_psm(name)]
    # stages 2, 3, 4: 1, 2, 2 modules with 1, 3, 6 links (5 tensors each) and
    # 1, 2, 3 outputs that have any (2 tensors each)
    assert len(learned) == 5 * (1 + 2 * 3 + 2 * 6) + 2 * (1 + 2 * 2 + 2 * 3)
    for name, parameter in ours.named_parameters():
        if is_psm(name):
            assert parameter.grad.abs().max() > 0, name
            assert (parameter != before[name]).any(), name


def test_signal_keeps_its_size_without_pretraining():
    """HRNet's own start, a deviation of 0.001, is for norms to make up."""
    plain, ours = HRNet(make_extra()), make_ours()
    sizes = []
    for net in (plain, ours):
        torch.manual_seed(3)
        net.init_weights()
        sizes.append(
            [x.detach().std() for x in net(torch.randn(2, 3, 64, 64))]
        )
    for actual, expected in zip(*sizes):
        assert actual == pytest.approx(expected, rel=0.5)


@pytest.mark.parametrize('expansion', ['full', 'literal'])
def test_own_weights_load_as_they_are(expansion):
    source, target = (make_ours(expansion=expansion) for _ in '12')
    for value in source.state_dict().values():
        value.copy_(torch.rand(value.shape))
    target.load_state_dict(source.state_dict(), strict=True)
    for key, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[key])


def test_literal_keeps_its_start_where_hrnet_has_upsampling():
    plain, ours = make_plain(), make_ours(expansion='literal')
    before = copy.deepcopy(ours.state_dict())
    missing, unexpected = ours.load_state_dict(
        plain.state_dict(), strict=False
    )
    assert not unexpected
    # torch makes up BN's count of batches.
    own = {k for k in before if is_psm(k) and 'num_batches' not in k}
    assert set(missing) == own
    for key, value in ours.state_dict().items():
        expected = before if is_psm(key) else plain.state_dict()
        torch.testing.assert_close(value, expected[key])


class _Records(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


@pytest.fixture
def warnings():
    """What MMEngine warns of while the test runs."""
    handler = _Records()
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield handler.messages
    logger.removeHandler(handler)


def test_pretrained_weights_load_through_init_cfg(tmp_path, warnings):
    """A bare state dict, or, by its prefix, part of a whole estimator's."""
    plain = make_plain()
    weights = plain.state_dict()
    # Some of MMPose's ImageNet weights are of a torch before this count.
    bare = {k: v for k, v in weights.items() if 'num_batches' not in k}
    torch.save(bare, tmp_path / 'bare.pth')
    whole = {f'backbone.{k}': v for k, v in weights.items()}
    torch.save(dict(state_dict=whole, meta={}), tmp_path / 'whole.pth')
    for cfg in (
        dict(checkpoint=str(tmp_path / 'bare.pth')),
        dict(checkpoint=str(tmp_path / 'whole.pth'), prefix='backbone.'),
    ):
        ours = make_ours(init_cfg=dict(type='Pretrained', **cfg))
        ours.init_weights()
        assert_same_maps(ours, plain)
    assert not warnings


def test_single_output_takes_weights_of_all_four(warnings, tmp_path):
    """As in ImageNet weights; MMPose's HRNet reports the same surplus."""
    plain = make_plain()
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    nets = make_plain(False), make_ours(False)
    for net in nets:
        load_checkpoint(
            net, str(tmp_path / 'plain.pth'), 'cpu', logger='current'
        )
    theirs, ours = warnings
    assert theirs == ours
    assert 'stage4.1.fuse_layers.1' in ours
    assert_same_maps(nets[1], nets[0])


def test_literal_reports_only_what_it_misses(warnings, tmp_path):
    torch.save(make_plain().state_dict(), tmp_path / 'plain.pth')
    ours = make_ours(expansion='literal')
    load_checkpoint(ours, str(tmp_path / 'plain.pth'), 'cpu', logger='current')
    message, count = warnings
    assert count.startswith('355 of the 510 tensors of PSMHRNet were loaded')
    assert 'unexpected' not in message and 'size mismatch' not in message
    assert 'stage2.0.fusions.0.high.weight' in message


def test_copies_convert_weights_too():
    """An averaged model is a deep copy."""
    plain, ours = make_plain(), copy.deepcopy(make_ours())
    ours.load_state_dict(plain.state_dict())
    assert_same_maps(ours, plain)


def test_takes_images_of_any_size():
    ours = make_ours(with_stem_map=True)
    sizes = [tuple(x.shape[-2:]) for x in ours(torch.randn(2, 3, 75, 101))]
    assert sizes == [(38, 51), (19, 26), (10, 13), (5, 7), (3, 4)]


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="got 'double'"):
        make_ours(expansion='double')
    upsample = dict(mode='bilinear', align_corners=False)
    with pytest.raises(ValueError, match=r"'nearest' or left out.*bilinear"):
        PSMHRNet(make_extra(upsample=upsample))
    with pytest.raises(
        ValueError, match='stem_stride must be one of 2, 4, got 8'
    ):
        make_ours(stem_stride=8)


def test_takes_the_weights_of_mmposes_config():
    cfg = get_config(
        'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
        'td-hm_hrnet-w32_8xb64-210e_coco-256x192.py'
    ).model.backbone
    with torch.device('meta'):
        hrnet = MODELS.build(cfg)
        psm = MODELS.build(dict(cfg, type='PSMHRNet'))
        psm.load_state_dict(hrnet.state_dict())
        (x,) = psm(torch.empty(2, 3, 256, 192))
    assert x.shape == (2, 32, 64, 48)
