"""LOGO-CAP's head against its rules, one number after the other."""

from math import exp

import logocap_reference as ref
import numpy as np
import pytest
import torch
from mmpose.registry import MODELS
from torch.testing import assert_close

from mmpose_ext.models.heads import LOGOCAPHead
from mmpose_ext.models.heads.logocap_targets import (
    match_poses,
    oks_loss,
    window_loss,
)


def predict_image(head, heatmaps, offsets, embedding):
    """Poses and scores of one image, in the order of the centres."""
    state = head.refinement.state_dict()
    large = ref.enlarge(heatmaps)
    centers = ref.find_centers(large[-1])[:4]
    poses, scores = [], []
    for i, (center, *place) in enumerate(centers):
        if i and center < 0.01:
            continue
        pose = ref.read_pose(offsets, *place)
        local = ref.refine(state, ref.take_codes(embedding, pose)[None])[0]
        local = local.clamp(0, 1)
        moved, values = [], []
        for k, (x, y) in enumerate(pose):
            if head.adaptation == 'full':
                out = ref.convolve(ref.take_window(large[k], x, y), local[k])
                order = out.flatten().argsort(descending=True)[:2].tolist()
                first, second = (out.flatten()[j].item() for j in order)
                (y1, x1), (y2, x2) = (divmod(j, len(ref.STEPS)) for j in order)
                x += 0.75 * x1 + 0.25 * x2 - ref.RADIUS
                y += 0.75 * y1 + 0.25 * y2 - ref.RADIUS
                value = 0.75 * first + 0.25 * second
            else:
                if head.adaptation == 'partial':
                    row, column = divmod(local[k].argmax().item(), 5)
                    x += (column - 2) * ref.spacing(k)
                    y += (row - 2) * ref.spacing(k)
                value = ref.sample(large[k], x, y)
            moved.append((x, y))
            values.append(value * center)
        if np.mean(values) > 0:
            poses.append(moved)
            scores.append(values)
    return np.array(poses).reshape(-1, 3, 2), np.array(scores).reshape(-1, 3)


# -- Prediction --------------------------------------------------------------


@pytest.mark.parametrize('adaptation', ['full', 'partial', 'none'])
def test_decode_equals_the_rules(adaptation):
    # Another string of the same value, as from a command line.
    adaptation = ''.join([*adaptation])
    head = ref.make_head(adaptation=adaptation).eval()
    maps = ref.make_maps()
    with torch.no_grad():
        results = head.decode(maps)
        expected = [predict_image(head, *image) for image in zip(*maps)]
    assert min(len(poses) for poses, _ in expected) >= 2
    for result, (poses, scores) in zip(results, expected):
        np.testing.assert_allclose(result.keypoints, poses, atol=1e-9)
        np.testing.assert_allclose(result.keypoint_scores, scores, atol=1e-9)
        np.testing.assert_allclose(result.bbox_scores, scores.mean(axis=1))
        np.testing.assert_allclose(result.bboxes[:, :2], poses.min(axis=1))
        np.testing.assert_allclose(result.bboxes[:, 2:], poses.max(axis=1))


def test_forward_is_the_branches():
    head = ref.make_head().eval()
    (x,) = ref.make_feats()
    maps = head.forward((torch.zeros(2, 5, 1, 1, dtype=torch.double), x))
    for name, channels, found in zip(
        ('heatmap', 'offset', 'embedding'), (4, 6, 2), maps
    ):
        assert found.shape[1] == channels
        assert_close(found, getattr(head, f'{name}_branch')(x))


def test_flip_test_averages_heatmaps_and_offsets_only():
    head = ref.make_head().eval()
    feats, mirrored = ref.make_feats(), ref.make_feats()
    with torch.no_grad():
        heatmaps, offsets, embedding = head.forward(feats)
        other_heatmaps, other_offsets, _ = head.forward(mirrored)
        for i, j in enumerate([1, 0, 2, 3]):
            heatmaps[:, i] += other_heatmaps[:, j].flip(-1)
        for i, j in enumerate(ref.FLIP_INDICES):
            offsets[:, 2 * i] -= other_offsets[:, 2 * j].flip(-1)
            offsets[:, 2 * i + 1] += other_offsets[:, 2 * j + 1].flip(-1)
        expected = head.decode((heatmaps / 2, offsets / 2, embedding))
        cfg = dict(flip_test=True, output_heatmaps=True)
        results, fields = head.predict(
            [feats, mirrored], ref.make_samples(), cfg
        )
    for a, b, field, h, o in zip(results, expected, fields, heatmaps, offsets):
        assert_close(field.heatmaps, h / 2)
        assert_close(field.offsets, o / 2)
        np.testing.assert_allclose(a.keypoints, b.keypoints)


def test_no_centre_is_an_empty_result():
    heatmaps, *others = ref.make_maps()
    heatmaps[:, -1] = -1
    head = ref.stub_forward(ref.make_head().eval(), (heatmaps, *others))
    results = head.predict(None, ref.make_samples(), dict(nms_dist_thr=0.05))
    for result in results:
        assert result.keypoints.shape == (0, 3, 2)
        assert result.keypoint_scores.shape == (0, 3)
        assert result.bboxes.shape == (0, 4)


@pytest.mark.parametrize('thr', ['nms_dist_thr', 'nms_oks_thr'])
def test_nms_of_the_predicted_poses(thr):
    """The same from two centres."""
    head = ref.make_tiny_head(adaptation='none').eval()
    heatmaps, *others = ref.make_tiny_maps([(0.5, 4, 6), (0.25, 12, 6)])
    for k, x in enumerate((2, 8, 14)):
        for place in (4, 12):
            others[0][0, 2 * k, 6, place] = place - x
            heatmaps[0, k, 6, x] = 0.5
    head = ref.stub_forward(head, (heatmaps, *others))
    (both,) = head.predict(None, ref.make_samples(1), {})
    (one,) = head.predict(None, ref.make_samples(1), {thr: 0.05})
    assert both.bbox_scores.tolist() == [0.25, 0.125]
    assert one.bbox_scores.tolist() == [0.25]


def test_autocast_changes_the_refinement_only():
    """Initial poses, windows and peaks are of full precision."""
    maps = tuple(m.float() for m in ref.make_maps())
    for adaptation, tolerance in (('none', 0), ('full', 0.75)):
        head = ref.make_head(adaptation=adaptation).float().eval()
        with torch.no_grad():
            exact = head.decode(maps)
            with torch.autocast('cpu', torch.bfloat16):
                rough = head.decode(maps)
        for a, b in zip(rough, exact):
            assert len(b) >= 1
            np.testing.assert_allclose(
                a.keypoints, b.keypoints, rtol=0, atol=tolerance
            )


def test_a_network_of_half_precision():
    head = ref.make_head().bfloat16().eval()
    feats = (ref.make_feats()[0].bfloat16(),)
    with torch.no_grad():
        results = head.decode(head.forward(feats))
    assert all(np.isfinite(r.keypoints).all() for r in results)
    assert all(r.keypoints.dtype == np.float32 for r in results)


# -- Losses ------------------------------------------------------------------


def test_losses_equal_the_rules():
    """The refinement in training, unclamped; and its convolution."""
    head = ref.make_head(
        match_thr=0.05, oks_loss_weight=3, window_loss_weight=2
    )
    samples = ref.make_targets(batch=3)
    heatmaps, offsets, embedding = ref.make_maps(batch=3)
    # One image whose centre points at its person.
    heatmaps[0] = samples[0].gt_fields.heatmaps
    offsets[0] = samples[0].gt_fields.offsets + 0.1 * offsets[0]
    matches = match_poses(
        *(heatmaps, offsets, samples),
        *(head.decoder, head.expansion.grid, head.match_thr),
    )
    pairs = list(zip(matches.image.tolist(), matches.poses.tolist()))
    codes = torch.stack([ref.take_codes(embedding[i], p) for i, p in pairs])
    local = ref.refine(head.refinement.state_dict(), codes, training=True)
    windows = torch.empty(
        len(pairs), 3, len(ref.STEPS), len(ref.STEPS)
    ).double()
    for n, (i, pose) in enumerate(pairs):
        for k, (x, y) in enumerate(pose):
            window = ref.take_window(ref.enlarge(heatmaps[i])[k], x, y)
            windows[n, k] = ref.convolve(window, local[n, k])
    losses = ref.stub_forward(head, (heatmaps, offsets, embedding)).loss(
        None, samples
    )
    assert_close(losses['loss_oks'], 3 * oks_loss(local, matches))
    expected = 2 * window_loss(windows, matches, ref.TARGET)
    assert_close(losses['loss_window'], expected)
    assert losses['loss_oks'] > 0 and losses['loss_window'] > 0


@pytest.mark.parametrize(
    'adaptation, names',
    [
        ('none', {'loss_heatmap', 'loss_offset'}),
        ('partial', {'loss_heatmap', 'loss_offset', 'loss_oks'}),
        (
            'full',
            {'loss_heatmap', 'loss_offset', 'loss_oks', 'loss_window'},
        ),
    ],
)
def test_every_trained_parameter_gets_a_gradient(adaptation, names):
    """Also where nobody is to be found, for the sake of other processes."""
    head = ref.make_head(adaptation=adaptation)
    samples = ref.make_targets(batch=3)[2:]
    losses = head.loss(ref.make_feats(1), samples)
    assert set(losses) == names
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    frozen = {
        name.split('.')[0]
        for name, parameter in head.named_parameters()
        if not parameter.requires_grad
    }
    expected = {'embedding_branch', 'refinement'}
    assert frozen == (expected if adaptation == 'none' else set())


def test_window_loss_reaches_heatmaps_embedding_and_refinement_only():
    head = ref.make_head(match_thr=0.05)
    samples = ref.make_targets(batch=1)
    heatmaps, offsets, embedding = ref.make_maps(batch=1)
    heatmaps[0] = samples[0].gt_fields.heatmaps
    offsets[0] = samples[0].gt_fields.offsets + 0.2
    maps = [m.requires_grad_() for m in (heatmaps, offsets, embedding)]
    loss = ref.stub_forward(head, maps).loss(None, samples)['loss_window']
    loss.backward()
    assert maps[0].grad[:, :-1].abs().max() > 0
    assert maps[0].grad[:, -1].abs().max() == 0  # the centres
    assert maps[1].grad is None
    assert maps[2].grad.abs().max() > 0
    assert all(p.grad.abs().max() > 0 for p in head.refinement.parameters())


def test_loss_gradients():
    """In every map, through windows, codes, refinement and convolution."""
    head = ref.make_head(match_thr=0.05).eval()
    samples = ref.make_targets(batch=1)
    target = samples[0].gt_fields
    heatmaps, offsets, embedding = ref.make_maps(batch=1)
    # Away from equal peaks, where the centres would change.
    heatmaps = (target.heatmaps + 0.01 * heatmaps).requires_grad_()
    offsets = target.offsets + 0.3
    embedding.requires_grad_()

    def loss(heatmaps, embedding):
        maps = heatmaps, offsets[None], embedding
        losses = ref.stub_forward(head, maps).loss(None, samples)
        return losses['loss_oks'], losses['loss_window']

    assert torch.autograd.gradcheck(
        loss, (heatmaps, embedding), fast_mode=True
    )


def test_losses_under_autocast():
    head = ref.make_head(match_thr=0.05).float()
    samples = ref.make_targets(batch=1)
    feats = (ref.make_feats(1)[0].float(),)
    exact = head.loss(feats, samples)
    with torch.autocast('cpu', torch.bfloat16):
        rough = head.loss(feats, samples)
        sum(rough.values()).backward()
    for name, loss in rough.items():
        assert_close(loss.double(), exact[name].double(), rtol=0.1, atol=1e-3)
    gradients = [p.grad for p in head.parameters()]
    assert all(g.isfinite().all() for g in gradients)


# -- By hand -----------------------------------------------------------------

# 8 s^2 area of a person with an area of 1000 px^2, and the grids' spacing.
VARIANCES, SPACINGS = (5, 20, 12.8), (1, 2, 1.6)


def tiny_oks(k, distance, area=1000):
    """OKS on a horizontal line through a joint, and the rows around it."""
    rows = SPACINGS[k] * np.arange(-2, 3)
    squares = np.add.outer(rows**2, np.square(distance))
    return np.exp(-squares / VARIANCES[k])


@pytest.mark.parametrize('with_nobody', [False, True])
def test_losses_by_hand(with_nobody):
    """A pose 1 px to the left of its person; in the second image nobody."""
    maps = ref.make_tiny_maps([(0.5, 10, 6)], [(0.5, 2, 2)])
    samples = [ref.make_tiny_sample((11, 6)), ref.make_tiny_sample()]
    if not with_nobody:
        maps, samples = [m[:1] for m in maps], samples[:1]
    head = ref.stub_forward(ref.make_tiny_head(max_instances=1), maps)
    # The refinement predicts 0.25 everywhere.
    torch.nn.init.zeros_(head.refinement[-1].weight)
    torch.nn.init.constant_(head.refinement[-1].bias, 0.25)
    # One of four offsets is half a cell away, by more than 1 / 9.
    field = samples[0].gt_fields
    field.offsets[0, 3, 4] = 0.5
    field.offset_weights[0, 3, 4:8] = 0.2
    losses = head.loss(None, samples)

    # (cell - target)^2 of one cell of 4 * 12 * 16, at a weight of 0.5
    assert losses['loss_heatmap'].item() == pytest.approx(
        0.5 * 0.25 / (4 * 12 * 16)
    )
    assert losses['loss_offset'].item() == pytest.approx(
        0.01 * 0.2 * (0.5 - 1 / 18) / 4
    )
    # The grids' columns are at 10 + (-2, ..., 2) * spacing.
    maps = [tiny_oks(k, np.arange(-2, 3) * SPACINGS[k] - 1) for k in range(3)]
    # The second joint's grid has no point that is nearer than its middle.
    gains = [1 - exp(-1 / 5), 0, exp(-0.36 / 12.8) - exp(-1 / 12.8)]
    assert losses['loss_oks'].item() == pytest.approx(
        0.01 * np.mean([g * (0.25 - m) ** 2 for g, m in zip(gains, maps)])
    )
    # Empty heatmaps are compared with a Gaussian of sigma 2 at (11, 6), in
    # windows of 15 x 15 px around the pose; the second image's have no weight.
    steps = np.arange(-7, 8)
    squares = np.add.outer(steps**2, (steps - 1) ** 2)
    error = np.mean(np.exp(-squares / 8) ** 2)
    assert losses['loss_window'].item() == pytest.approx(
        np.mean(gains) * error / (1 + with_nobody)
    )


def test_centres_that_are_kept():
    """Those whose score reaches the codec's threshold, or the best one."""
    head = ref.make_tiny_head(max_instances=4, adaptation='none').eval()
    heatmaps, *others = ref.make_tiny_maps(
        [(0.25, 3, 5), (0.5, 11, 6), (0.2, 8, 2)]
    )
    heatmaps[0, :3] = torch.tensor([1.0, 0.5, 0.25]).view(3, 1, 1)
    (result,) = head.decode((heatmaps, *others))
    assert result.keypoints[:, 0].tolist() == [[11, 6], [3, 5]]
    expected = [[0.5, 0.25, 0.125], [0.25, 0.125, 0.0625]]
    assert result.keypoint_scores.tolist() == expected
    means = [0.875 / 3, 0.4375 / 3]
    assert result.bbox_scores.tolist() == pytest.approx(means)
    heatmaps[0, 3] /= 1000
    (result,) = head.decode((heatmaps, *others))
    assert result.keypoint_scores.tolist() == [[0.0005, 0.00025, 0.000125]]


@pytest.mark.parametrize(
    ('predicted', 'used'), [(-0.5, 0), (0.5, 0.5), (2, 1)]
)
def test_predictions_of_the_refinement_are_cut(predicted, used):
    """To [0, 1]; a window with one peak of 1 is spread over 5 x 5 px."""
    head = ref.make_tiny_head(max_instances=1).eval()
    torch.nn.init.zeros_(head.refinement[-1].weight)
    torch.nn.init.constant_(head.refinement[-1].bias, predicted)
    heatmaps, *others = ref.make_tiny_maps([(0.5, 8, 6)])
    heatmaps[0, :3, 6, 8] = 1
    (result,) = head.decode((heatmaps, *others))
    assert len(result) == (used > 0)
    expected = [[used / 25 * 0.5] * 3] * len(result)
    np.testing.assert_allclose(
        result.keypoint_scores, np.reshape(expected, (-1, 3))
    )


def test_defaults_are_those_of_the_official_implementation():
    head = LOGOCAPHead(
        in_channels=48,
        num_keypoints=3,
        decoder=ref.TINY,
        expansion=dict(type='KeypointExpansion', sigmas=ref.SIGMAS),
    )
    shapes = {k: tuple(v.shape) for k, v in head.state_dict().items()}
    for name, shape in {
        'heatmap_branch.0.weight': (32, 48, 1, 1),
        'heatmap_branch.3.weight': (4, 32, 1, 1),
        'offset_branch.0.weight': (256, 48, 1, 1),
        'offset_branch.3.weight': (6, 256, 1, 1),
        'embedding_branch.0.weight': (64, 48, 1, 1),
        'refinement.0.weight': (512, 3 * 64, 3, 3),
        'refinement.3.weight': (256, 512, 3, 3),
        'refinement.4.gamma': (20, 256),
        'refinement.6.weight': (128, 256, 3, 3),
        'refinement.9.weight': (3, 128, 1, 1),
    }.items():
        assert shapes[name] == shape, name
    assert head.adaptation == 'full'
    assert (head.search.radius, head.search.sigma) == (48, 16)
    assert (head.target_sigma, head.match_thr) == (4, 0.5)
    assert (head.oks_loss_weight, head.window_loss_weight) == (0.01, 1)
    assert head.offset_loss.loss_weight == 0.01
    error = torch.tensor([[0.05, 1.0]])
    # Below 1/9 a square, which is 4.5 e^2, else |e| - 1/18; times 0.01.
    loss = head.offset_loss(error, torch.zeros(1, 2), torch.ones(1, 2))
    assert loss.item() == pytest.approx(
        0.01 * (4.5 * 0.05**2 + 17 / 18) / 2, rel=1e-6
    )


def test_exported_parts():
    for adaptation in ('full', 'partial'):
        head = ref.make_tiny_head(adaptation=adaptation)
        assert head.exported_parts == ('refinement',)
    assert ref.make_tiny_head(adaptation='none').exported_parts == ()


# -- Bad input ---------------------------------------------------------------


def test_wrong_arguments():
    with pytest.raises(ValueError, match='adaptation must be one of'):
        ref.make_head(adaptation='half')
    with pytest.raises(ValueError, match='sigmas of 3 keypoints, the head 14'):
        ref.make_head(num_keypoints=14)
    with pytest.raises(ValueError, match=r'match_thr must .* got 1\.1'):
        ref.make_head(match_thr=1.1)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(multiscale_test=True), 'one scale'),
        (
            dict(nms_dist_thr=0.05, nms_oks_thr=0.9),
            'nms_dist_thr and nms_oks_thr',
        ),
        (dict(flip_test=True), r'\(40, 32\), \(64, 32\)'),
    ],
)
def test_wrong_test_cfg(cfg, message):
    samples = [*ref.make_samples(1), *ref.make_samples(1, input_size=(64, 32))]
    with pytest.raises(ValueError, match=message):
        ref.make_head().predict(None, samples, cfg)


@pytest.mark.parametrize('value', [torch.nan, -torch.inf])
@pytest.mark.parametrize(
    ('index', 'name'),
    [(0, 'heatmap 2 of image 1'), (1, 'offset map 4 of image 1'),
     (2, 'the embedding')],
)  # fmt: skip
def test_what_is_not_finite_is_named(index, name, value):
    maps = ref.make_maps()
    maps[index][1, -2, 3, 4] = value
    head = ref.stub_forward(ref.make_head(), maps)
    with pytest.raises(ValueError, match=f'^{name} holds NaN'):
        head.decode(maps)
    if index < 2:
        with pytest.raises(ValueError, match=f'^{name} holds NaN'):
            head.loss(None, ref.make_targets())


def test_fourteen_keypoints():
    """Nothing is made for COCO's 17."""
    head = MODELS.build(
        dict(
            type='LOGOCAPHead',
            in_channels=8,
            num_keypoints=14,
            refinement_channels=(8, 8, 8),
            expansion=dict(type='KeypointExpansion', sigmas=[0.05] * 14),
            decoder=dict(
                type='CenterOffset',
                input_size=(64, 64),
                heatmap_size=(16, 16),
            ),
        )
    ).eval()
    with torch.no_grad():
        (poses,) = head.predict(
            (torch.randn(1, 8, 16, 16),), ref.make_samples(1)
        )
    assert poses.keypoints.shape[1:] == (14, 2)
