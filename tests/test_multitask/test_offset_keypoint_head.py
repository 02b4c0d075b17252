import math

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack
from torch import nn

from mmpose_ext.multitask import OffsetKeypointHead
from mmpose_ext.multitask.keypoint_heatmaps import (
    gaussian_heatmaps,
    to_cells,
)

DCN = dict(type='DCN', deform_groups=1)
DCNV2 = dict(type='DCNv2', deform_groups=1)


def make_head(**kwargs):
    torch.manual_seed(0)
    settings = dict(
        num_keypoints=3, in_channels=4, conv_channels=8, num_convs=2
    )
    head = OffsetKeypointHead(**{**settings, **kwargs})
    head.init_weights()
    return head


def make_targets(number, num_keypoints=3):
    """Boxes, keypoints inside them, and their visibility."""
    torch.manual_seed(1)
    start = torch.rand(number, 2) * 50
    sides = torch.rand(number, 2) * 60 + 20
    inside = torch.rand(number, num_keypoints, 2)
    keypoints = start[:, None] + inside * sides[:, None]
    visible = torch.full((number, num_keypoints), 2.0)
    return torch.cat([start, start + sides], dim=1), keypoints, visible


def grads(head):
    return {name: p.grad for name, p in head.named_parameters()}


def test_layers_are_those_of_detectron2():
    head = OffsetKeypointHead()
    shapes = {k: tuple(v.shape) for k, v in head.state_dict().items()}
    expected = {}
    for i in range(8):
        expected[f'convs.{i}.weight'] = (512, 512 if i else 256, 3, 3)
        expected[f'convs.{i}.bias'] = (512,)
    for name, channels in (('heatmap', 17), ('offset', 34)):
        expected[f'{name}_deconv.weight'] = (512, channels, 4, 4)
        expected[f'{name}_deconv.bias'] = (channels,)
    assert shapes == expected


@pytest.mark.parametrize(
    'conv_cfg, type_',
    [
        (None, nn.Conv2d),
        (DCN, DeformConv2dPack),
        (DCNV2, ModulatedDeformConv2dPack),
    ],
)
def test_convolutions_are_of_the_type_asked_for(conv_cfg, type_):
    head = make_head(conv_cfg=conv_cfg)
    assert [type(conv) for conv in head.convs] == [type_] * 2
    assert make_head(heatmap_refine=False).offset_deconv is None


@pytest.mark.parametrize('norm_cfg', [None, dict(type='BN')])
def test_forward_by_hand(norm_cfg):
    """Plain layers, norms if wanted, a sigmoid, and refinement behind it."""
    head = make_head(norm_cfg=norm_cfg)
    assert ('norms.0.running_mean' in head.state_dict()) == bool(norm_cfg)
    nn.init.normal_(head.offset_deconv.weight, std=0.5)
    feats = torch.randn(2, 4, 7, 7)
    x = feats
    for conv in head.convs:
        x = F.conv2d(x, conv.weight, conv.bias, padding=1)
        if norm_cfg:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        x = x.clamp(min=0)

    def enlarge(deconv):
        maps = F.conv_transpose2d(x, deconv.weight, deconv.bias, 2, 1)
        return F.interpolate(
            maps, scale_factor=2, mode='bilinear', align_corners=False
        )

    heatmaps = enlarge(head.heatmap_deconv).sigmoid()
    offsets = enlarge(head.offset_deconv)
    assert offsets.abs().max() > 1
    refined = head(feats)
    assert refined.shape == (2, 3, 28, 28)
    # One cell by the bilinear sum of equations 2 and 3.
    n, k, y, x = 1, 2, 13, 9
    py = y + offsets[n, 2 * k + 1, y, x]
    px = x + offsets[n, 2 * k, y, x]
    index = torch.arange(28)
    weights_y = (1 - (index - py).abs()).clamp(min=0)
    weights_x = (1 - (index - px).abs()).clamp(min=0)
    value = weights_y @ heatmaps[n, k] @ weights_x
    torch.testing.assert_close(refined[n, k, y, x], value, rtol=0, atol=1e-5)


def test_deformable_convolutions_start_as_plain_ones():
    head, plain = make_head(conv_cfg=DCN), make_head()
    for ours, theirs in zip(head.convs, plain.convs):
        theirs.weight.data.copy_(ours.weight.data)
        nn.init.zeros_(theirs.bias)
    for name in ('heatmap_deconv', 'offset_deconv'):
        weights = getattr(plain, name).state_dict()
        getattr(head, name).load_state_dict(weights)
    feats = torch.randn(3, 4, 7, 7)
    torch.testing.assert_close(head(feats), plain(feats))


@pytest.mark.parametrize('conv_cfg', [None, DCN, DCNV2])
@pytest.mark.parametrize('number', [0, 1, 32, 37])
def test_any_number_of_rois(conv_cfg, number):
    """37 is no multiple of 32, and none at all is refused by mmcv's DCN."""
    norm_cfg = dict(type='BN') if conv_cfg is DCN else None
    head = make_head(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
    feats = torch.randn(number, 4, 6, 6, requires_grad=True)
    heatmaps = head(feats)
    assert heatmaps.shape == (number, 3, 24, 24)
    loss = head.loss(heatmaps, *make_targets(number))['loss_keypoint']
    loss.backward()
    assert loss.isfinite() and (loss > 0) == (number > 0)
    keypoints, scores = head.predict(heatmaps, make_targets(number)[0])
    assert keypoints.shape == (number, 3, 2) and scores.shape == (number, 3)
    assert feats.grad is not None
    for name, grad in grads(head).items():
        assert grad is not None, name
        assert grad.isfinite().all(), name
        assert number > 0 or (grad == 0).all(), name


@pytest.mark.parametrize('conv_cfg', [None, DCN, DCNV2])
def test_a_roi_does_not_depend_on_the_others(conv_cfg):
    """Also where it brings mmcv's steps to another size."""
    head = make_head(conv_cfg=conv_cfg).double()
    for conv in head.convs:
        if conv_cfg:
            nn.init.normal_(conv.conv_offset.weight, std=0.1)
    nn.init.normal_(head.offset_deconv.weight, std=0.1)
    feats = torch.randn(37, 4, 6, 6, dtype=torch.float64)
    boxes = make_targets(37)[0].double()
    heatmaps = head(feats)
    keypoints, scores = head.predict(heatmaps, boxes)
    for part in (slice(0, 1), slice(5, 37)):
        alone = head(feats[part])
        torch.testing.assert_close(alone, heatmaps[part])
        points, values = head.predict(alone, boxes[part])
        torch.testing.assert_close(points, keypoints[part])
        torch.testing.assert_close(values, scores[part])


def test_activations_keep_their_size():
    """The first heatmaps are near 0.01, whatever convolutions there are."""
    for conv_cfg in (None, DCN, DCNV2):
        torch.manual_seed(0)
        head = OffsetKeypointHead(
            in_channels=64, conv_channels=64, conv_cfg=conv_cfg
        )
        head.init_weights()
        feats = torch.randn(4, 64, 14, 14)
        for conv in head.convs:
            feats = F.relu(conv(feats))
        assert 0.1 < feats.std() < 1.5
        heatmaps = head(torch.randn(4, 64, 14, 14)).detach()
        assert heatmaps.mean() == pytest.approx(0.01, abs=0.005)


def test_loss_is_that_of_equation_9():
    head = make_head(pos_weight=0)
    boxes = torch.tensor([[0.0, 0.0, 28.0, 28.0], [10.0, 10.0, 38.0, 38.0]])
    keypoints = torch.tensor(
        [
            [[5.5, 6.5], [9.0, 9.0], [40.0, 5.0]],  # the last one outside
            [[24.0, 24.0], [20.0, 30.0], [15.0, 15.0]],
        ]
    )
    visible = torch.tensor([[2.0, 0.0, 2.0], [1.0, 2.0, 2.0]])
    heatmaps = torch.rand(2, 3, 28, 28)
    targets = torch.zeros(2, 3, 28, 28)
    for n, k in ((0, 0), (1, 0), (1, 1), (1, 2)):
        x, y = (keypoints[n, k] - boxes[n, :2] - 0.5).tolist()
        for row in range(28):
            for column in range(28):
                square = (row - y) ** 2 + (column - x) ** 2
                targets[n, k, row, column] = math.exp(-square / 2)
    expected = ((heatmaps - targets) ** 2).sum() / 4
    loss = head.loss(heatmaps, boxes, keypoints, visible)
    assert loss['loss_keypoint'] == pytest.approx(expected.item(), rel=1e-5)

    # Maps of 0 cost pi sigma^2 per joint.
    zero = head.loss(torch.zeros_like(heatmaps), boxes, keypoints, visible)
    assert zero['loss_keypoint'] == pytest.approx(math.pi, rel=0.01)

    # By default, the background counts 1 / (1 + 49).
    weighted = make_head(loss_weight=2)
    loss = weighted.loss(heatmaps, boxes, keypoints, visible)
    squares = (0.02 + 0.98 * targets) * (heatmaps - targets) ** 2
    expected = 2 * squares.sum() / 4
    assert loss['loss_keypoint'] == pytest.approx(expected.item(), rel=1e-5)

    literal = make_head(pos_weight=0, occluded_as_zero=True)
    targets[1, 0] = 0
    expected = ((heatmaps - targets) ** 2).sum() / 3
    loss = literal.loss(heatmaps, boxes, keypoints, visible)
    assert loss['loss_keypoint'] == pytest.approx(expected.item(), rel=1e-5)


def test_binary_cross_entropy():
    head = make_head(loss='bce')
    boxes, keypoints, visible = make_targets(2)
    cells = to_cells(keypoints, boxes, 28)
    targets = gaussian_heatmaps(cells, visible > 0, 28)
    heatmaps = torch.rand(2, 3, 28, 28) * 0.98 + 0.01
    expected = -(
        targets * heatmaps.log() + (1 - targets) * (1 - heatmaps).log()
    ).sum()
    loss = head.loss(heatmaps, boxes, keypoints, visible)['loss_keypoint']
    torch.testing.assert_close(loss, expected / 6)


def test_softmax_cross_entropy():
    head = make_head(loss='ce', activation='none', heatmap_refine=False)
    boxes = torch.tensor([[0.0, 0.0, 28.0, 28.0]])
    keypoints = torch.tensor([[[5.5, 6.5], [28.0, 28.0], [3.0, 30.0]]])
    visible = torch.tensor([[2.0, 1.0, 2.0]])
    logits = torch.randn(1, 3, 28, 28)
    # The joint on the far corner is in the last cell; the third is outside.
    expected = sum(
        logits[0, k].logsumexp(dim=(0, 1)) - logits[0, k, y, x]
        for k, y, x in ((0, 6, 5), (1, 27, 27))
    )
    loss = head.loss(logits, boxes, keypoints, visible)['loss_keypoint']
    torch.testing.assert_close(loss, expected / 2)
    # The score is the softmax.
    _, scores = head.predict(logits, boxes)
    torch.testing.assert_close(
        scores, logits.flatten(2).softmax(2).max(dim=2).values
    )


@pytest.mark.parametrize(
    'settings',
    [
        dict(),
        dict(loss='bce'),
        dict(loss='ce', activation='none', heatmap_refine=False),
    ],
)
def test_no_valid_joint_still_has_gradients(settings):
    head = make_head(**settings)
    boxes, keypoints, visible = make_targets(2)
    heatmaps = head(torch.randn(2, 4, 7, 7))
    loss = head.loss(heatmaps, boxes, keypoints + 1000, visible)
    loss['loss_keypoint'].backward()
    assert all(grad.isfinite().all() for grad in grads(head).values())
    if settings.get('loss') == 'ce':
        assert loss['loss_keypoint'] == 0


@pytest.mark.parametrize('decode', ['parabola', 'bicubic'])
def test_predict_finds_targets_in_pixels(decode):
    head = make_head(activation='none', decode=decode, heatmap_refine=False)
    boxes, keypoints, visible = make_targets(5)
    inner = 0.1 * (boxes[:, :2] + boxes[:, 2:])[:, None] / 2 + 0.9 * keypoints
    cells = to_cells(inner, boxes, 56)
    heatmaps = gaussian_heatmaps(cells, visible > 0, 56)
    found, scores = head.predict(heatmaps, boxes)
    assert scores.shape == (5, 3)
    cell = ((boxes[:, 2:] - boxes[:, :2]) / 56)[:, None]
    bound = 1e-3 if decode == 'parabola' else 0.75
    assert ((found - inner).abs() / cell).max() < bound


def test_zero_area_rois_are_finite():
    head = make_head()
    boxes = torch.tensor([[5.0, 5.0, 5.0, 9.0], [5.0, 9.0, 9.0, 9.0]])
    heatmaps = head(torch.randn(2, 4, 7, 7))
    keypoints, _ = head.predict(heatmaps, boxes)
    assert keypoints.isfinite().all()
    targets = torch.full((2, 3, 2), 5.0), torch.full((2, 3), 2.0)
    assert head.loss(heatmaps, boxes, *targets)['loss_keypoint'].isfinite()


@pytest.mark.parametrize('loss', ['mse', 'bce'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('bias', [-30.0, 0.0, 12.0])
def test_half_precision(loss, dtype, bias):
    """Of confident heatmaps, too: the same loss, and finite gradients."""
    # The slopes between cells that are wrong and sure exceed half precision.
    head = make_head(loss=loss, heatmap_refine=bias <= 0)
    head.heatmap_deconv.bias.data.fill_(bias)
    feats, targets = torch.randn(3, 4, 7, 7), make_targets(3)
    expected = head.loss(head(feats), *targets)['loss_keypoint']
    with torch.autocast('cpu', dtype=dtype):
        heatmaps = head(feats)
        found = head.loss(heatmaps, *targets)['loss_keypoint']
    assert heatmaps.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=1e-3)
    found.backward()
    for name, grad in grads(head).items():
        assert grad.isfinite().all(), name
    keypoints, _ = head.predict(heatmaps, targets[0])
    assert keypoints.isfinite().all()


def test_another_number_of_keypoints_is_named():
    head = make_head()
    heatmaps = head(torch.randn(2, 4, 7, 7))
    with pytest.raises(ValueError, match=r'num_keypoints=3, but .* have 5'):
        head.loss(heatmaps, *make_targets(2, num_keypoints=5))


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(activation='relu'), "activation.*'relu'"),
        (dict(loss='l1'), "loss.*'l1'"),
        (dict(decode='max'), "decode.*'max'"),
        (dict(loss='bce', activation='none'), 'bce'),
        (dict(loss='ce'), 'logits'),
        (dict(decode='bicubic'), 'logits'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        OffsetKeypointHead(**settings)
