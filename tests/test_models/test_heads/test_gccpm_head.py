import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from mmpose.registry import KEYPOINT_CODECS
from mmpose.structures import PoseDataSample

from mmpose_ext.models.backbones import MobileNetV1
from mmpose_ext.models.heads import GCCPMHead

CODEC = dict(
    type='BackgroundHeatmap', input_size=(48, 64), heatmap_size=(6, 8)
)
FLIP_INDICES = [1, 0, 2]  # three keypoints, the first two symmetric
U_SHAPED = dict(type='UShapedContext')


def make_head(**kwargs):
    """Of three keypoints and the background."""
    args = dict(
        in_channels=6,
        out_channels=4,
        num_stages=3,
        context=U_SHAPED,
        feat_channels=5,
        reduction_channels=7,
        initial_channels=8,
    )
    return GCCPMHead(**{**args, **kwargs})


def make_samples(heatmaps, weights):
    samples = []
    for maps, w in zip(heatmaps, weights):
        sample = PoseDataSample(metainfo=dict(flip_indices=FLIP_INDICES))
        sample.gt_fields = PixelData(heatmaps=maps)
        sample.gt_instance_labels = InstanceData(keypoint_weights=w[None])
        samples.append(sample)
    return samples


def stub_forward(head, *heatmaps):
    """Make a head return these maps."""
    head.forward = lambda feats: list(heatmaps)
    return head


# -- The network -------------------------------------------------------------


@pytest.mark.parametrize(
    'num_stages, params, macs',
    [(6, 40_595_281, 21.288e9), (2, 11_004_753, 7.302e9)],
)
def test_costs_of_the_papers_nets(num_stages, params, macs, count_costs):
    def make():
        return torch.nn.Sequential(
            MobileNetV1(out_indices=(3,), output_stride=8),
            GCCPMHead(512, 17, num_stages, context=U_SHAPED),
        )

    found = count_costs(make, 1, 3, 256, 256)
    assert found == (params, pytest.approx(macs, rel=0.001))


@pytest.mark.parametrize('size', [(1, 1), (7, 6)])
@pytest.mark.parametrize('position', ['stages', 'features', None])
@pytest.mark.parametrize('num_stages', [1, 3])
def test_network_by_torchs_functions_alone(
    size, position, num_stages, plain_conv, randomise
):
    context = U_SHAPED if position else None
    head = make_head(
        num_stages=num_stages,
        context=context,
        context_position=position or 'stages',
    )
    state = randomise(head).state_dict()

    def predict(x, name):
        x = plain_conv(x, state, f'{name}.hidden')
        weight = state[f'{name}.out.weight'][..., 0, 0]
        x = torch.einsum('nchw,kc->nkhw', x, weight)
        return x + state[f'{name}.out.bias'].view(1, -1, 1, 1)

    feats = torch.randn(2, 6, *size).double()
    x = plain_conv(feats, state, 'reduction.0', padding=1)
    x = plain_conv(x, state, 'reduction.1', padding=1)
    if position == 'features':
        x = head.context(x)
    features = x
    for i in range(3):
        x = plain_conv(x, state, f'initial_stage.{i}', padding=1)
    expected = [predict(x, 'initial_stage.3')]
    for stage in range(num_stages - 1):
        name = f'refinement_stages.{stage}'
        x = torch.cat([features, expected[-1]], dim=1)
        if position == 'stages':
            x = head.refinement_stages[stage].context(x)
        for i in range(3):
            block = f'{name}.blocks.{i}'
            short = plain_conv(x, state, f'{block}.reduce')
            x = plain_conv(short, state, f'{block}.convs.0', padding=1)
            x = short + plain_conv(
                x, state, f'{block}.convs.1', padding=2, dilation=2
            )
        expected.append(predict(x, f'{name}.heatmaps'))

    # Of several maps the last one counts.
    actual = head((torch.zeros(1), feats))
    torch.testing.assert_close(actual, expected)


def test_refuses_wrong_arguments():
    for argument, wrong in (
        *(('num_stages', 0), ('out_channels', 0), ('initial_channels', 0)),
        *(('reduction_channels', -1), ('in_channels', 0)),
        *(('feat_channels', 0), ('context_position', 'end')),
        ('loss_normalisation', 'sum'),
    ):
        with pytest.raises(ValueError, match=f'^{argument} .* got {wrong!r}'):
            make_head(**{argument: wrong})


def test_defaults_are_the_full_net_and_the_official_loss():
    head = GCCPMHead(4, 3)
    assert len(head.refinement_stages) == 5
    assert head.loss_normalisation == 'official'
    assert not head.use_target_weight


@pytest.mark.parametrize('started', [False, True])
def test_heatmaps_start_with_a_deviation_of_a_thousandth(started):
    head = make_head(out_channels=64, initial_channels=256, feat_channels=256)
    if started:
        head.init_weights()
    predictors = head.initial_stage[-1], head.refinement_stages[0].heatmaps
    for predictor in predictors:
        weight = predictor.out.weight
        assert weight.std().item() == pytest.approx(0.001, rel=0.03)
        assert abs(weight.mean().item()) < 3e-5
        assert (predictor.out.bias == 0).all()


# -- Losses ------------------------------------------------------------------


@pytest.mark.parametrize(
    'normalisation, weighted, expected',
    [
        # 2 images x 20 cells x (1 + 4 + 9 + 16), over 2 x 2 or 4 x 2.
        ('official', False, 300.0),
        ('paper', False, 150.0),
        # One image without its third keypoint's 9.
        ('official', True, 300.0 - 20 * 9 / 4),
        ('paper', True, 150.0 - 20 * 9 / 8),
    ],
)
def test_losses_by_hand(normalisation, weighted, expected):
    head = make_head(
        loss_normalisation=normalisation, use_target_weight=weighted
    )
    error = torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1)
    target = torch.rand(2, 4, 4, 5)
    weights = torch.tensor([[1.0, 1, 0], [1, 1, 1]])
    stub_forward(head, target - error, target, target + 2 * error)
    losses = head.loss(None, make_samples(target, weights))

    assert losses['loss_stage0'].item() == pytest.approx(expected, rel=1e-4)
    assert losses['loss_stage1'].item() == 0
    assert losses['loss_stage2'].item() == pytest.approx(
        4 * expected, rel=1e-4
    )
    assert losses['acc_pose'].item() == 1  # of the last stage
    assert len(losses) == 4


def test_accuracy_is_that_of_weighted_keypoints_in_the_last_stage():
    target = torch.zeros(1, 4, 40, 40)
    target[0, :, 20, 20] = 1
    wrong = target.roll(10, dims=-1)
    last = torch.cat([target[:, :1], wrong[:, 1:]], dim=1)
    samples = make_samples(target, torch.tensor([[1.0, 1, 0]]))
    head = stub_forward(make_head(), wrong, last)
    assert head.loss(None, samples)['acc_pose'].item() == 0.5
    assert 'acc_pose' not in head.loss(None, samples, dict(compute_acc=False))


@pytest.mark.parametrize('context', [None, U_SHAPED])
@pytest.mark.parametrize('position', ['stages', 'features'])
def test_gradients_reach_every_parameter(context, position, randomise):
    # A norm in training mode would cancel the biases before it.
    head = randomise(make_head(context=context, context_position=position))
    feats = torch.randn(2, 6, 8, 6).double().requires_grad_()
    target = torch.rand(2, 4, 8, 6)
    losses = head.loss((feats,), make_samples(target, torch.ones(2, 3)))
    sum(v for k, v in losses.items() if k.startswith('loss')).backward()
    assert feats.grad.abs().max() > 0
    for name, parameter in head.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_loss_holds_what_half_precision_cannot(dtype):
    """16 * 69,632 is beyond the range of float16."""
    target = torch.zeros(1, 17, 64, 64)
    head = stub_forward(make_head(out_channels=17), (target + 4).to(dtype))
    for target_ in (target, target.to(dtype)):
        losses = head.loss(None, make_samples(target_, torch.ones(1, 16)))
        assert losses['loss_stage0'].item() == 16 * target.numel() / 2


def test_training_step_in_mixed_precision():
    torch.manual_seed(0)
    head = make_head().train()
    feats = (torch.randn(2, 6, 8, 6),)
    samples = make_samples(torch.rand(2, 4, 8, 6), torch.ones(2, 3))
    exact = head.loss(feats, samples)
    with torch.autocast('cpu', torch.bfloat16):
        losses = head.loss(feats, samples)
    for name in ('loss_stage0', 'loss_stage1', 'loss_stage2'):
        assert losses[name].dtype == torch.float32
        torch.testing.assert_close(
            losses[name], exact[name], rtol=0.02, atol=0
        )
    losses['loss_stage2'].backward()
    assert all(
        p.grad.isfinite().all()
        for p in head.parameters()
        if p.grad is not None
    )


@pytest.mark.parametrize('shape', [(3, 8, 6), (4, 6, 8)])
def test_refuses_targets_of_another_shape(shape):
    head = stub_forward(make_head(), torch.zeros(2, 4, 8, 6))
    samples = make_samples(torch.zeros(2, *shape), torch.ones(2, 3))
    with pytest.raises(ValueError, match=r'heatmaps \(2, 4, 8, 6\), got .*'):
        head.loss(None, samples)


# -- Predictions -------------------------------------------------------------


def test_predictions_are_what_the_codec_decodes_from_the_last_stage():
    codec = KEYPOINT_CODECS.build(CODEC)
    keypoints = torch.tensor([[[20.0, 33], [7, 60], [40, 12]]])
    maps = torch.from_numpy(codec.encode(keypoints.numpy())['heatmaps'])
    maps = torch.stack([maps, maps.flip(-1)])
    head = stub_forward(make_head(decoder=CODEC), torch.rand(2, 4, 8, 6), maps)
    preds, fields = head.predict(None, [], dict(output_heatmaps=True))

    keypoints = torch.stack([keypoints[0], keypoints[0]])
    keypoints[1, :, 0] = 47 - keypoints[1, :, 0]
    for pred, field, encoded, truth in zip(preds, fields, maps, keypoints):
        decoded, scores = codec.decode(encoded.numpy())
        assert pred.keypoints.shape == (1, 3, 2)
        assert (pred.keypoints == decoded).all()
        assert (pred.keypoint_scores == scores).all()
        assert abs(pred.keypoints[0] - truth.numpy()).max() < 4  # half a cell
        torch.testing.assert_close(field.heatmaps, encoded)
    alone = head.predict(None, [], {})
    assert isinstance(alone, list) and len(alone) == 2
    assert (alone[1].keypoints == preds[1].keypoints).all()


def test_prediction_without_a_decoder():
    head = stub_forward(make_head(), torch.rand(1, 4, 8, 6))
    with pytest.raises(RuntimeError, match='decoder has not been set'):
        head.predict(None, [])


def average_flipped(plain, flipped, **test_cfg):
    """The flip test's heatmaps; here the maps are the head's features."""
    head = make_head(decoder=CODEC)
    head.forward = lambda feats: [torch.rand(1), *feats]
    samples = make_samples(plain, torch.ones(len(plain), 3))
    test_cfg.update(flip_test=True, output_heatmaps=True)
    _, fields = head.predict([(plain,), (flipped,)], samples, test_cfg)
    return torch.stack([field.heatmaps for field in fields])


def test_flip_test_swaps_keypoints_but_not_the_background():
    torch.manual_seed(0)
    plain, flipped = torch.rand(2, 2, 4, 8, 6)
    back = flipped.flip(-1)
    expected = plain.clone()
    for channel, mirrored in enumerate((1, 0, 2, 3)):
        expected[:, channel] += back[:, mirrored]
    torch.testing.assert_close(average_flipped(plain, flipped), expected / 2)

    # Of a single image, too.
    single = average_flipped(plain[:1], flipped[:1])
    torch.testing.assert_close(single, expected[:1] / 2)

    shifted = average_flipped(plain, flipped, shift_heatmap=True)
    torch.testing.assert_close(
        shifted[:, 3, :, 1:], (plain + back.roll(1, -1))[:, 3, :, 1:] / 2
    )


def test_flip_test_changes_nothing_where_the_net_is_symmetric(randomise):
    """Symmetric kernels, and equal maps for paired keypoints.

    Strides of 2 are symmetric where the map's width is odd, here twice.
    """
    head = randomise(make_head(decoder=CODEC))
    for name, parameter in head.named_parameters():
        value = parameter.data
        if value.dim() == 4:
            value += value.flip(-1).clone()
        if '.out.' in name:
            value[0] = value[1]
    feats = torch.randn(2, 6, 7, 9).double()
    samples = make_samples(torch.zeros(2, 4, 7, 9), torch.ones(2, 3))
    options = dict(output_heatmaps=True)
    preds, fields = head.predict((feats,), samples, options)
    flip_preds, flip_fields = head.predict(
        [(feats,), (feats.flip(-1),)], samples, dict(options, flip_test=True)
    )
    for a, b, c, d in zip(preds, flip_preds, fields, flip_fields):
        torch.testing.assert_close(c.heatmaps, d.heatmaps)
        assert (a.keypoints == b.keypoints).all()
        assert (c.heatmaps - c.heatmaps.flip(-1)).abs().max() > 1


@pytest.mark.parametrize('position', ['stages', 'features'])
def test_init_cfg_of_the_context_reaches_it(position):
    init_cfg = dict(type='Constant', val=0.5, layer='BatchNorm2d')
    context = dict(type='UShapedContext', init_cfg=init_cfg)
    head = GCCPMHead(
        8,
        4,
        num_stages=3,
        context=context,
        context_position=position,
        feat_channels=4,
    )
    head.init_weights()
    changed = {
        name
        for name, m in head.named_modules()
        if isinstance(m, torch.nn.BatchNorm2d) and (m.weight == 0.5).all()
    }
    assert len(changed) == 8 * (2 if position == 'stages' else 1)
    assert all('context.' in name for name in changed)
