"""LOGO-CAP's head against its rules, one number after the other."""

from math import exp, floor

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from mmpose_ext.models.heads import LOGOCAPHead, logocap_search
from mmpose_ext.models.layers.keypoint_sampling import sample_codes
from mmpose_ext.models.layers.window_convolution import convolve_windows

SIGMAS = (0.025, 0.05, 0.04)
FLIP_INDICES = [1, 0, 2]
WIDTH, HEIGHT, STRIDE, RADIUS, SIGMA, TARGET = 40, 32, 4, 7, 3.0, 2.0
STEPS = range(-RADIUS, RADIUS + 1)


def make_head(**kwargs):
    torch.manual_seed(0)
    args = dict(
        in_channels=5,
        num_keypoints=3,
        heatmap_channels=4,
        offset_channels=6,
        embedding_channels=2,
        refinement_channels=(4, 6, 5),
        num_affines=3,
        window_radius=RADIUS,
        window_sigma=SIGMA,
        target_sigma=TARGET,
        decoder=dict(
            type='CenterOffset',
            input_size=(WIDTH, HEIGHT),
            heatmap_size=(WIDTH // 4, HEIGHT // 4),
            decode_max_instances=4,
        ),
        expansion=dict(type='KeypointExpansion', sigmas=SIGMAS, ksize=5),
    )
    head = LOGOCAPHead(**{**args, **kwargs}).double()
    # The statistics of its norms, and a bias that does not vanish.
    for module in head.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    head.refinement[-1].bias.data.fill_(0.5)
    return head


def make_maps(batch=2, seed=0):
    """Heatmaps, offsets and an embedding as the branches may answer."""
    generator = torch.Generator().manual_seed(seed)

    def noise(channels):
        return torch.randn(
            batch,
            channels,
            HEIGHT // 4,
            WIDTH // 4,
            dtype=torch.double,
            generator=generator,
        )

    heatmaps = 0.3 * noise(4) + 0.2
    # No centre in the outermost cells, where the interpolation makes ties.
    center = torch.full_like(heatmaps[:, 3], -0.5)
    center[:, 1:-1, 1:-1] = heatmaps[:, 3, 1:-1, 1:-1]
    heatmaps[:, 3] = center
    return heatmaps, noise(6), noise(2)


def make_feats(batch=2):
    shape = batch, 5, HEIGHT // 4, WIDTH // 4
    return (torch.randn(shape, dtype=torch.double),)


def make_samples(batch=2, **meta):
    meta = {
        'flip_indices': FLIP_INDICES,
        'input_size': (WIDTH, HEIGHT),
        **meta,
    }
    return [PoseDataSample(metainfo=meta) for _ in range(batch)]


def say(head, maps):
    head.forward = lambda feats: maps
    return head


# -- The reference -----------------------------------------------------------


def sample(plane, x, y):
    """A value of a map, by the border rule."""
    height, width = plane.shape

    def terms(p, size):
        p0 = min(max(floor(p), 0), size - 1)
        p1 = min(max(p0 + 1, 0), size - 1)
        return (p0, min(max(p1 - p, 0), 1)), (p1, min(max(p - p0, 0), 1))

    return sum(
        a * b * plane[row, column].item()
        for row, a in terms(y, height)
        for column, b in terms(x, width)
    )


def enlarge(maps):
    return F.interpolate(
        maps[None],
        scale_factor=4.0,
        mode='bilinear',
        align_corners=False,
    )[0]


def find_centers(center):
    """(score, x, y) of an enlarged map's peaks, by falling score."""
    height, width = center.shape
    found = []
    for y in range(height):
        for x in range(width):
            around = center[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if center[y, x] == around.clamp(min=0).max():
                found.append((center[y, x].item(), x, y))
    return sorted(found, reverse=True)


def read_pose(offsets, x, y):
    row, column = floor(y / STRIDE), floor(x / STRIDE)
    return [
        (
            x - STRIDE * offsets[2 * k, row, column].item(),
            y - STRIDE * offsets[2 * k + 1, row, column].item(),
        )
        for k in range(3)
    ]


def spacing(k):
    return SIGMAS[k] / min(SIGMAS)


def refine(state, codes, training=False):
    """The refinement, by torch's functions alone."""

    def norm(x, name, affine=True):
        scale, shift = (
            (state[f'{name}.weight'], state[f'{name}.bias'])
            if affine
            else (None, None)
        )
        return F.batch_norm(
            x,
            state[f'{name}.running_mean'].clone(),
            state[f'{name}.running_var'].clone(),
            scale,
            shift,
            training,
            eps=1e-5,
        )

    x = F.conv2d(codes, state['0.weight'], padding=1)
    x = norm(x, '1').relu()
    x = F.conv2d(x, state['3.weight'], padding=1)
    n, channels = x.shape[:2]
    flat = x.reshape(n, channels, -1)
    q = flat.mean(-1) / (flat.var(-1, unbiased=True) + 1e-3).sqrt()
    mix = F.relu6(q @ state['4.mixing.weight'][..., 0, 0].T + 3) / 6
    x = norm(x, '4.norm', affine=False)
    x = x * (mix @ state['4.gamma'])[..., None, None]
    x = (x + (mix @ state['4.beta'])[..., None, None]).relu()
    x = F.conv2d(x, state['6.weight'], padding=1)
    x = norm(x, '7').relu()
    return F.conv2d(x, state['9.weight'], state['9.bias'])


def take_codes(embedding, pose):
    codes = torch.empty(6, 5, 5, dtype=torch.double)
    for k, (x, y) in enumerate(pose):
        for e in range(2):
            for row in range(5):
                for column in range(5):
                    codes[2 * k + e, row, column] = sample(
                        embedding[e],
                        (x + (column - 2) * spacing(k)) / 4,
                        (y + (row - 2) * spacing(k)) / 4,
                    )
    return codes


def take_window(plane, x, y):
    return torch.tensor(
        [
            [
                sample(plane, x + dx, y + dy)
                * exp(-(dx**2 + dy**2) / (2 * SIGMA**2))
                for dx in STEPS
            ]
            for dy in STEPS
        ],
        dtype=torch.double,
    )


def convolve(window, kernel):
    """What is in the window moves by what the kernel (5 x 5) says."""
    side = len(window)
    out = torch.zeros_like(window)
    for y in range(side):
        for x in range(side):
            for dy in range(-2, 3):
                for dx in range(-2, 3):
                    if 0 <= y - dy < side and 0 <= x - dx < side:
                        weight = kernel[dy + 2, dx + 2] / 25
                        out[y, x] += weight * window[y - dy, x - dx]
    return out


def predict_image(head, heatmaps, offsets, embedding):
    """Poses and scores of one image, in the order of the centres."""
    state = head.refinement.state_dict()
    large = enlarge(heatmaps)
    centers = find_centers(large[-1])[:4]
    poses, scores = [], []
    for i, (center, *place) in enumerate(centers):
        if i and center < 0.01:
            continue
        pose = read_pose(offsets, *place)
        local = refine(state, take_codes(embedding, pose)[None])[0]
        local = local.clamp(0, 1)
        moved, values = [], []
        for k, (x, y) in enumerate(pose):
            if head.adaptation == 'full':
                out = convolve(take_window(large[k], x, y), local[k])
                order = out.flatten().argsort(descending=True)[:2].tolist()
                first, second = (out.flatten()[j].item() for j in order)
                (y1, x1), (y2, x2) = (divmod(j, len(STEPS)) for j in order)
                x += 0.75 * x1 + 0.25 * x2 - RADIUS
                y += 0.75 * y1 + 0.25 * y2 - RADIUS
                value = 0.75 * first + 0.25 * second
            else:
                if head.adaptation == 'partial':
                    row, column = divmod(local[k].argmax().item(), 5)
                    x += (column - 2) * spacing(k)
                    y += (row - 2) * spacing(k)
                value = sample(large[k], x, y)
            moved.append((x, y))
            values.append(value * center)
        if np.mean(values) > 0:
            poses.append(moved)
            scores.append(values)
    return np.array(poses).reshape(-1, 3, 2), np.array(scores).reshape(-1, 3)


# -- Prediction --------------------------------------------------------------


@pytest.mark.parametrize('adaptation', ['full', 'partial', 'none'])
def test_decode_equals_the_rules(adaptation):
    head = make_head(adaptation=adaptation).eval()
    maps = make_maps()
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


def test_a_batch_is_its_images():
    head = make_head().eval()
    maps = make_maps(batch=8)
    with torch.no_grad():
        together = head.decode(maps)
        alone = [
            head.decode(tuple(m[i : i + 1] for m in maps))[0] for i in range(8)
        ]
    for a, b in zip(together, alone):
        np.testing.assert_allclose(a.keypoints, b.keypoints, atol=1e-9)
        np.testing.assert_allclose(
            a.keypoint_scores, b.keypoint_scores, atol=1e-9
        )


def test_costs_of_a_centre():
    """Multiply-adds of the W32 head's refinement and convolution."""
    head = make_head(
        in_channels=480,
        num_keypoints=17,
        embedding_channels=64,
        refinement_channels=(512, 256, 128),
        num_affines=20,
        expansion=dict(type='KeypointExpansion', sigmas=[0.05] * 17),
    ).eval()
    codes = torch.zeros(1, 17 * 64, 11, 11, dtype=torch.double)
    windows, kernels = torch.zeros(1, 17, 97, 97), torch.zeros(1, 17, 11, 11)
    with torch.no_grad(), FlopCounterMode(display=False) as network:
        head.refinement(codes)
    with torch.no_grad(), FlopCounterMode(display=False) as convolution:
        convolve_windows(windows, kernels)
    assert round(network.get_total_flops() / 2e9, 3) == 0.785
    assert round(convolution.get_total_flops() / 2e9, 3) == 0.019


def test_forward_is_the_branches():
    head = make_head().eval()
    feats = make_feats()
    state = head.state_dict()

    def branch(name):
        x = F.conv2d(feats[-1], state[f'{name}.0.weight'])
        x = F.batch_norm(
            x,
            *(
                state[f'{name}.1.{key}']
                for key in ('running_mean', 'running_var', 'weight', 'bias')
            ),
        ).relu()
        if f'{name}.3.weight' in state:
            x = F.conv2d(x, state[f'{name}.3.weight'], state[f'{name}.3.bias'])
        return x

    other = torch.zeros(2, 5, 1, 1, dtype=torch.double)
    heatmaps, offsets, embedding = head.forward((other, *feats))
    assert_close(heatmaps, branch('heatmap_branch'))
    assert_close(offsets, branch('offset_branch'))
    assert_close(embedding, branch('embedding_branch'))


def test_flip_test_averages_heatmaps_and_offsets_only():
    head = make_head().eval()
    feats, mirrored = make_feats(), make_feats()
    with torch.no_grad():
        heatmaps, offsets, embedding = head.forward(feats)
        other_heatmaps, other_offsets, _ = head.forward(mirrored)
        for i, j in enumerate([1, 0, 2, 3]):
            heatmaps[:, i] += other_heatmaps[:, j].flip(-1)
        for i, j in enumerate(FLIP_INDICES):
            offsets[:, 2 * i] -= other_offsets[:, 2 * j].flip(-1)
            offsets[:, 2 * i + 1] += other_offsets[:, 2 * j + 1].flip(-1)
        expected = head.decode((heatmaps / 2, offsets / 2, embedding))
        cfg = dict(flip_test=True, output_heatmaps=True)
        results, fields = head.predict([feats, mirrored], make_samples(), cfg)
    for a, b, field, h, o in zip(results, expected, fields, heatmaps, offsets):
        assert_close(field.heatmaps, h / 2)
        assert_close(field.offsets, o / 2)
        np.testing.assert_allclose(a.keypoints, b.keypoints)


def test_no_centre_is_an_empty_result():
    heatmaps, *others = make_maps()
    heatmaps[:, -1] = -1
    head = say(make_head().eval(), (heatmaps, *others))
    results = head.predict(None, make_samples(), dict(nms_dist_thr=0.05))
    for result in results:
        assert result.keypoints.shape == (0, 3, 2)
        assert result.keypoint_scores.shape == (0, 3)
        assert result.bboxes.shape == (0, 4)


def test_a_low_centre_alone_is_kept():
    heatmaps, *others = make_maps(batch=1)
    heatmaps[:, :-1] = 0.5
    heatmaps[:, -1] = 0
    heatmaps[0, -1, 4, 5] = 0.001
    head = make_head(adaptation='none').eval()
    (result,) = head.decode((heatmaps, *others))
    assert len(result) == 1
    assert 0 < result.bbox_scores[0] < 0.001


@pytest.mark.parametrize(
    'cfg, kept',
    [
        (dict(), 3),
        (dict(nms_dist_thr=0.05), 2),
        (dict(nms_dist_thr=0.05, max_num_people=1), 1),
        (dict(nms_oks_thr=0.9), 2),
        (dict(nms_oks_thr=0.9, max_num_people=1), 1),
    ],
)
def test_nms(cfg, kept):
    head = make_head(adaptation='none').eval()
    poses = np.array([[0, 0], [40, 0], [0, 30]]) + np.array(
        [[[0, 0]], [[100, 0]], [[0.1, 0.1]]]
    )
    head.decode = lambda maps: [
        InstanceData(
            keypoints=poses,
            keypoint_scores=np.array([[3.0] * 3, [1.0] * 3, [2.0] * 3]),
            bboxes=np.concatenate([poses.min(1), poses.max(1)], axis=1),
            bbox_scores=np.array([3.0, 1, 2]),
        )
    ]
    (result,) = head.predict(make_feats(1), make_samples(1), cfg)
    assert result.bbox_scores.tolist() == [3.0, 1, 2][:kept]


def test_autocast_changes_the_refinement_only():
    """Initial poses, windows and peaks are of full precision."""
    maps = tuple(m.float() for m in make_maps())
    for adaptation, tolerance in (('none', 0), ('full', 0.75)):
        head = make_head(adaptation=adaptation).float().eval()
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
    head = make_head().bfloat16().eval()
    feats = (make_feats()[0].bfloat16(),)
    with torch.no_grad():
        results = head.decode(head.forward(feats))
    assert all(np.isfinite(r.keypoints).all() for r in results)
    assert all(r.keypoints.dtype == np.float32 for r in results)


# -- Losses ------------------------------------------------------------------


def make_targets(batch=2):
    generator = np.random.default_rng(0)
    head = make_head()
    samples = make_samples(batch)
    for i, one in enumerate(samples):
        n = [2, 1, 0][i % 3]
        keypoints = generator.uniform(5, 28, (n, 3, 2))
        visible = np.ones((n, 3))
        visible[:1, 2] = 0
        encoded = head.decoder.encode(
            keypoints, visible, area=np.full(n, 1500.0)
        )
        one.gt_fields = PixelData(
            **{
                key: torch.tensor(encoded[key]).double()
                for key in head.decoder.field_mapping_table
                if key in encoded
            },
            heatmap_mask=torch.rand(1, HEIGHT // 4, WIDTH // 4) > 0.2,
        )
        one.gt_instance_labels = InstanceData(
            **{
                name: torch.tensor(encoded[key]).double()
                for key, name in head.decoder.label_mapping_table.items()
            }
        )
    return samples


def oks(k, x, y, person):
    keypoints, visible, area = person
    dx, dy = x - keypoints[k][0], y - keypoints[k][1]
    scale = max(2 * (2 * SIGMAS[k]) ** 2 * area, 1e-6)
    return exp(-(dx**2 + dy**2) / scale) * (visible[k] > 0)


def match(pose, persons):
    """OKS maps with the person that fits best, and that person."""
    best = None
    for person in persons:
        maps = np.array(
            [
                [
                    [
                        oks(
                            k,
                            x + (column - 2) * spacing(k),
                            y + (row - 2) * spacing(k),
                            person,
                        )
                        for column in range(5)
                    ]
                    for row in range(5)
                ]
                for k, (x, y) in enumerate(pose)
            ]
        )
        labelled = sum(v > 0 for v in person[1])
        score = maps.max(axis=(1, 2)).sum() / labelled
        if best is None or score > best[0]:
            best = score, maps, maps.sum(axis=0).max() / labelled, person
    return best[1:]


def reference_losses(head, maps, samples):
    heatmaps, offsets, embedding = maps
    total = count = 0
    for i, one in enumerate(samples):
        field = one.gt_fields
        error = (heatmaps[i] - field.heatmaps) ** 2
        total += (error * field.heatmap_weights * field.heatmap_mask).sum()
        count += error.numel()
    losses = dict(loss_heatmap=total / count)

    total = count = 0
    for i, one in enumerate(samples):
        error = (offsets[i] - one.gt_fields.offsets).abs()
        error = torch.where(error < 1 / 9, error**2 * 9 / 2, error - 1 / 18)
        weights = one.gt_fields.offset_weights
        total += (error * weights).sum()
        count += (weights > 0).sum()
    losses['loss_offset'] = 0.01 * total / max(count, 1)

    kept = []
    for i, one in enumerate(samples):
        labels = one.gt_instance_labels
        persons = [
            person
            for person in zip(
                labels.keypoint_labels.tolist(),
                labels.keypoint_weights.tolist(),
                labels.areas.tolist(),
            )
            if max(person[1]) > 0
        ]
        large = enlarge(heatmaps[i].detach())
        centers = find_centers(large[-1])[:4]
        matched = []
        for _, *place in centers:
            pose = read_pose(offsets[i].detach(), *place)
            if persons:
                matched.append((i, pose, *match(pose, persons)))
            else:
                matched.append((i, pose, np.zeros((3, 5, 5)), 0, None))
        good = [m for m in matched if m[3] >= head.match_thr]
        kept += good or matched[:1]

    codes = torch.stack([take_codes(embedding[m[0]], m[1]) for m in kept])
    local = refine(head.refinement.state_dict(), codes, training=True)
    total, windows = 0, []
    for one, kernel in zip(kept, local):
        i, pose, target, score, person = one
        gain = target.max(axis=(1, 2)) - target[:, 2, 2]
        gain = gain * (score >= head.match_thr)
        error = (kernel.detach().numpy() - target) ** 2
        total += (gain[:, None, None] * error).mean()
        large = enlarge(heatmaps[i])
        for k, (x, y) in enumerate(pose):
            out = convolve(take_window(large[k], x, y), kernel[k])
            for r, dy in enumerate(STEPS):
                for c, dx in enumerate(STEPS):
                    wanted = 0
                    if person is not None:
                        gx, gy = person[0][k]
                        wanted = exp(
                            -((x + dx - gx) ** 2 + (y + dy - gy) ** 2)
                            / (2 * TARGET**2)
                        )
                    error = (out[r, c].item() - wanted) ** 2
                    windows.append(gain[k] * error)
    number = sum(m[3] >= head.match_thr for m in kept)
    losses['loss_oks'] = 0.01 * total / max(number, 1)
    losses['loss_window'] = np.mean(windows)
    return losses, number


@pytest.mark.parametrize('match_thr', [0.5, 0.05])
def test_losses_equal_the_rules(match_thr):
    head = make_head(match_thr=match_thr)
    samples = make_targets(batch=3)
    heatmaps, offsets, embedding = make_maps(batch=3)
    # One image whose centre points at its person.
    target = samples[0].gt_fields
    heatmaps[0] = target.heatmaps
    offsets[0] = target.offsets + 0.1 * offsets[0]
    maps = heatmaps, offsets, embedding
    expected, number = reference_losses(head, maps, samples)
    assert number >= 1
    losses = say(head, maps).loss(None, samples)
    assert set(losses) == set(expected)
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(float(expected[name]), rel=1e-9)
        assert loss.item() > 0


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
    head = make_head(adaptation=adaptation)
    samples = make_targets(batch=3)[2:]
    losses = head.loss(make_feats(1), samples)
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
    head = make_head(match_thr=0.05)
    samples = make_targets(batch=1)
    heatmaps, offsets, embedding = make_maps(batch=1)
    heatmaps[0] = samples[0].gt_fields.heatmaps
    offsets[0] = samples[0].gt_fields.offsets + 0.2
    maps = [m.requires_grad_() for m in (heatmaps, offsets, embedding)]
    loss = say(head, maps).loss(None, samples)['loss_window']
    loss.backward()
    assert maps[0].grad[:, :-1].abs().max() > 0
    assert maps[0].grad[:, -1].abs().max() == 0  # the centres
    assert maps[1].grad is None
    assert maps[2].grad.abs().max() > 0
    assert all(p.grad.abs().max() > 0 for p in head.refinement.parameters())


def test_loss_gradients():
    """In every map, through windows, codes, refinement and convolution."""
    head = make_head(match_thr=0.05).eval()
    samples = make_targets(batch=1)
    target = samples[0].gt_fields
    heatmaps, offsets, embedding = make_maps(batch=1)
    # Away from equal peaks, where the centres would change.
    heatmaps = (target.heatmaps + 0.01 * heatmaps).requires_grad_()
    offsets = target.offsets + 0.3
    embedding.requires_grad_()

    def loss(heatmaps, embedding):
        maps = heatmaps, offsets[None], embedding
        losses = say(head, maps).loss(None, samples)
        return losses['loss_oks'], losses['loss_window']

    assert torch.autograd.gradcheck(
        loss, (heatmaps, embedding), fast_mode=True
    )


def test_losses_under_autocast():
    head = make_head(match_thr=0.05).float()
    samples = make_targets(batch=1)
    feats = (make_feats(1)[0].float(),)
    exact = head.loss(feats, samples)
    with torch.autocast('cpu', torch.bfloat16):
        rough = head.loss(feats, samples)
        sum(rough.values()).backward()
    for name, loss in rough.items():
        assert_close(loss.double(), exact[name].double(), rtol=0.1, atol=1e-3)
    gradients = [p.grad for p in head.parameters()]
    assert all(g.isfinite().all() for g in gradients)


# -- By hand -----------------------------------------------------------------

# One pixel per cell, so that maps hold what is read.
TINY = dict(type='CenterOffset', input_size=(16, 12), heatmap_size=(16, 12))
# 8 s^2 area of a person with an area of 1000 px^2, and the grids' spacing.
VARIANCES, SPACINGS = (5, 20, 12.8), (1, 2, 1.6)


def make_tiny_head(max_instances=2, **kwargs):
    decoder = dict(TINY, decode_max_instances=max_instances, decode_thr=0.25)
    return make_head(decoder=decoder, **kwargs)


def make_tiny_maps(*centers):
    """Of images with centres (score, x, y), which all keypoints are at.

    The embedding holds the places of its cells.
    """
    n = len(centers)
    heatmaps = torch.zeros(n, 4, 12, 16, dtype=torch.double)
    for i, one in enumerate(centers):
        for score, x, y in one:
            heatmaps[i, 3, y, x] = score
    y, x = torch.meshgrid(
        torch.arange(12.0), torch.arange(16.0), indexing='ij'
    )
    embedding = torch.stack([x, y]).double().expand(n, -1, -1, -1)
    return (
        heatmaps,
        torch.zeros_like(heatmaps[:, :1].repeat(1, 6, 1, 1)),
        (embedding.clone()),
    )


def make_tiny_sample(*persons):
    """With persons of 1000 px^2, all of whose keypoints are at (x, y)."""
    n = len(persons)
    one = PoseDataSample(
        metainfo=dict(flip_indices=FLIP_INDICES, input_size=(16, 12))
    )
    one.gt_fields = PixelData(
        heatmaps=torch.zeros(4, 12, 16).double(),
        heatmap_weights=torch.full((1, 12, 16), 0.5).double(),
        offsets=torch.zeros(6, 12, 16).double(),
        offset_weights=torch.zeros(6, 12, 16).double(),
    )
    keypoints = torch.tensor(persons, dtype=torch.double).reshape(n, 1, 2)
    one.gt_instance_labels = InstanceData(
        keypoint_labels=keypoints.repeat(1, 3, 1),
        keypoint_weights=torch.ones(n, 3).double(),
        areas=torch.full((n,), 1000.0).double(),
    )
    return one


def refined_poses(head):
    """Where the middles of the expansions are that the refinement is given.

    Of all keypoints, (n, K, 2), from an embedding that holds its places.
    """
    places = []
    head.refinement.register_forward_pre_hook(
        lambda module, args: places.append(
            args[0][:, :, 2, 2].unflatten(1, (3, 2))
        )
    )
    return places


def test_each_image_has_a_pose_to_refine():
    """The good ones, or else the best one, whatever other images have."""
    maps = make_tiny_maps(
        [(0.9, 3, 5), (0.6, 11, 6)],
        [(0.3, 12, 9), (0.8, 7, 3)],
        [(0.9, 4, 4), (0.7, 6, 4)],
    )
    samples = [
        make_tiny_sample((11, 6)),
        make_tiny_sample(),
        make_tiny_sample((4, 4), (0, 0)),
    ]
    head = say(make_tiny_head(), maps)
    places = refined_poses(head)
    head.loss(None, samples)
    expected = [(11, 6), (7, 3), (4, 4), (6, 4)]
    assert places[0][:, 0].tolist() == [list(xy) for xy in expected]
    assert (places[0] == places[0][:, :1]).all()


@pytest.mark.parametrize(
    ('match_thr', 'refined'), [(1.0, (11, 6)), (0.0, None)]
)
def test_a_pose_may_just_reach_the_threshold(match_thr, refined):
    maps = make_tiny_maps([(0.9, 3, 5), (0.6, 11, 6)])
    head = say(make_tiny_head(match_thr=match_thr), maps)
    places = refined_poses(head)
    head.loss(None, [make_tiny_sample((11, 6))])
    # An OKS of 1 is a match, and one of 0 would be.
    expected = [refined] if refined else [(3, 5), (11, 6)]
    assert places[0][:, 0].tolist() == [list(xy) for xy in expected]


def tiny_oks(k, distance, area=1000):
    """OKS on a horizontal line through a joint, and the rows around it."""
    rows = SPACINGS[k] * np.arange(-2, 3)
    squares = np.add.outer(rows**2, np.square(distance))
    return np.exp(-squares / VARIANCES[k])


@pytest.mark.parametrize('with_nobody', [False, True])
def test_losses_by_hand(with_nobody):
    """A pose 1 px to the left of its person; in the second image nobody."""
    maps = make_tiny_maps([(0.5, 10, 6)], [(0.5, 2, 2)])
    samples = [make_tiny_sample((11, 6)), make_tiny_sample()]
    if not with_nobody:
        maps, samples = [m[:1] for m in maps], samples[:1]
    head = say(make_tiny_head(max_instances=1), maps)
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


def test_oks_loss_is_a_mean_over_good_poses():
    """Two of them are as good as one; where nobody is, it is 0."""
    losses = []
    for images in (
        [[(0.5, 10, 6)]],
        [[(0.5, 10, 6)], [(0.5, 10, 6)]],
        [[(0.5, 10, 6)], [(0.5, 10, 6)], [(0.5, 1, 1)]],
    ):
        maps = make_tiny_maps(*images)
        head = say(make_tiny_head(max_instances=1).eval(), maps)
        samples = [make_tiny_sample((11, 6)) for _ in images]
        losses.append(head.loss(None, samples)['loss_oks'].item())
    assert losses[0] > 0
    assert losses[1:] == pytest.approx([losses[0]] * 2)

    head = say(make_tiny_head(), make_tiny_maps([(0.5, 10, 6)]))
    nobody = head.loss(None, [make_tiny_sample()])
    assert nobody['loss_oks'] == nobody['loss_window'] == 0


def test_weights_of_the_losses():
    maps, sample = make_tiny_maps([(0.5, 10, 6)]), make_tiny_sample((11, 6))
    once, more = (
        say(make_tiny_head(max_instances=1, **weights).eval(), maps).loss(
            None, [sample]
        )
        for weights in (
            dict(oks_loss_weight=1, window_loss_weight=1),
            dict(oks_loss_weight=3, window_loss_weight=2),
        )
    )
    assert once['loss_oks'] > 0 and once['loss_window'] > 0
    assert_close(more['loss_oks'], 3 * once['loss_oks'])
    assert_close(more['loss_window'], 2 * once['loss_window'])


def test_grids_that_reach_far(monkeypatch):
    """The widest grid, and no other, says how much of the map is read."""
    sigmas = (0.01, 0.02, 0.04)  # spacings of 1, 2 and 4 px
    head = make_tiny_head(
        expansion=dict(type='KeypointExpansion', sigmas=sigmas, ksize=3)
    )
    inputs, spans = [], []
    head.refinement.register_forward_pre_hook(
        lambda module, args: inputs.append(args[0])
    )
    monkeypatch.setattr(
        logocap_search,
        'sample_codes',
        lambda *args: spans.append(args[-1]) or sample_codes(*args),
    )
    _, _, embedding = make_tiny_maps([])
    poses = torch.tensor([[[8.5, 6], [8.25, 6], [7.75, 5.5]]]).double()
    head._judge(embedding, torch.tensor([0]), poses)
    (codes,) = inputs
    assert spans == [8]  # 2 steps of 4 px, in cells of 1 px
    for k, spacing_ in enumerate((1, 2, 4)):
        x, y = poses[0, k].tolist()
        for row, column in np.ndindex(3, 3):
            at = x + (column - 1) * spacing_, y + (row - 1) * spacing_
            assert codes[0, 2 * k : 2 * k + 2, row, column].tolist() == (
                pytest.approx(at)
            )


def test_centres_that_are_kept():
    """Those whose score reaches the codec's threshold."""
    head = make_tiny_head(max_instances=4, adaptation='none').eval()
    heatmaps, *others = make_tiny_maps(
        [(0.25, 3, 5), (0.5, 11, 6), (0.2, 8, 2)]
    )
    heatmaps[0, :3] = torch.tensor([1.0, 0.5, 0.25]).view(3, 1, 1)
    (result,) = head.decode((heatmaps, *others))
    assert result.keypoints[:, 0].tolist() == [[11, 6], [3, 5]]
    expected = [[0.5, 0.25, 0.125], [0.25, 0.125, 0.0625]]
    assert result.keypoint_scores.tolist() == expected
    means = [0.875 / 3, 0.4375 / 3]
    assert result.bbox_scores.tolist() == pytest.approx(means)


@pytest.mark.parametrize(
    ('predicted', 'used'), [(-0.5, 0), (0.5, 0.5), (2, 1)]
)
def test_predictions_of_the_refinement_are_cut(predicted, used):
    """To [0, 1]; a window with one peak of 1 is spread over 5 x 5 px."""
    head = make_tiny_head(max_instances=1).eval()
    torch.nn.init.zeros_(head.refinement[-1].weight)
    torch.nn.init.constant_(head.refinement[-1].bias, predicted)
    heatmaps, *others = make_tiny_maps([(0.5, 8, 6)])
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
        decoder=TINY,
        expansion=dict(type='KeypointExpansion', sigmas=SIGMAS),
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
        head = make_tiny_head(adaptation=adaptation)
        assert head.exported_parts == ('refinement',)
    assert make_tiny_head(adaptation='none').exported_parts == ()


def suppress(poses, scores, cfg):
    """The scores of the poses (N, K, 2) that the NMS keeps."""
    head = make_tiny_head(adaptation='none').eval()
    poses, scores = np.asarray(poses, float), np.asarray(scores, float)
    head.decode = lambda maps: [
        InstanceData(
            keypoints=poses,
            keypoint_scores=scores[:, None].repeat(3, axis=1),
            bboxes=np.concatenate([poses.min(1), poses.max(1)], axis=1),
            bbox_scores=scores,
        )
    ]
    (result,) = head.predict(make_feats(1), make_samples(1), cfg)
    return result.bbox_scores.tolist()


@pytest.mark.parametrize('kind', ['nms_dist_thr', 'nms_oks_thr'])
def test_at_most_thirty_people(kind):
    shape = np.array([[0, 0], [40, 0], [0, 30]])
    poses = shape + 1000 * np.arange(32)[:, None, None]
    scores = np.linspace(0.9, 0.1, 32)
    cfg = {kind: 0.05}
    assert suppress(poses, scores, cfg) == scores[:30].tolist()
    most = dict(cfg, max_num_people=31)
    assert suppress(poses, scores, most) == scores[:31].tolist()
    assert suppress(poses, scores, {}) == scores.tolist()


def test_how_many_joints_are_close():
    """Two of three joints are, by less than 0.1 of the diagonal of 50 px."""
    poses = [[[0, 0], [40, 0], [0, 30]], [[3, 0], [44, 0], [9, 30]]]
    scores = [0.9, 0.8]
    # 1, which is 3 // 2, is not enough to match; 2 are more.
    assert suppress(poses, scores, dict(nms_dist_thr=0.1)) == [0.9]
    cfg = dict(nms_dist_thr=0.1, nms_joints_thr=2)
    assert suppress(poses, scores, cfg) == scores
    # 3 px are not less than 0.06 of it.
    assert suppress(poses, scores, dict(nms_dist_thr=0.06)) == scores


def test_oks_of_the_nms():
    """Of two poses 2 px apart whose boxes have 1200 px^2 each."""
    first = np.array([[0, 0], [40, 0], [0, 30]])
    similar = np.mean([exp(-4 / (2 * (2 * s) ** 2 * 1200)) for s in SIGMAS])
    assert 0.7 < similar < 0.9
    poses, scores = [first, first + np.array([0, 2])], [0.8, 0.9]
    for change, kept in ((1e-6, [0.9, 0.8]), (-1e-6, [0.9])):
        cfg = dict(nms_oks_thr=similar + change)
        assert suppress(poses, scores, cfg) == kept


# -- Bad input ---------------------------------------------------------------


def test_wrong_arguments():
    with pytest.raises(ValueError, match='adaptation must be one of'):
        make_head(adaptation='half')
    with pytest.raises(ValueError, match=r'3 numbers, got \(4, 5\)'):
        make_head(refinement_channels=(4, 5))
    with pytest.raises(ValueError, match=r'refinement_channels\[1\] .* got 0'):
        make_head(refinement_channels=(4, 0, 5))
    with pytest.raises(ValueError, match='sigmas of 3 keypoints, the head 14'):
        make_head(num_keypoints=14)


@pytest.mark.parametrize(
    ('name', 'too_low'),
    [
        ('in_channels', 0),
        ('num_keypoints', 0),
        ('heatmap_channels', 0),
        ('offset_channels', 0),
        ('embedding_channels', 0),
        ('num_affines', 0),
        ('window_radius', 0),
        ('window_sigma', 0),
        ('target_sigma', 0),
        ('match_thr', -0.1),
        ('match_thr', 1.1),
        ('oks_loss_weight', -0.1),
        ('window_loss_weight', -0.1),
    ],
)
def test_arguments_that_are_no_number_or_too_low(name, too_low):
    for value in (too_low, torch.nan, torch.inf, 'text', None, True):
        with pytest.raises(ValueError) as e:
            make_head(**{name: value})
        assert str(e.value).startswith(f'{name} must be a')
        assert str(e.value).endswith(f', got {value!r}')


def test_wrong_test_cfg():
    head = make_head().eval()
    with pytest.raises(ValueError, match='one scale'):
        head.predict(make_feats(), make_samples(), dict(multiscale_test=True))
    with pytest.raises(ValueError, match='nms_dist_thr and nms_oks_thr'):
        head.predict(
            make_feats(),
            make_samples(),
            dict(nms_dist_thr=0.05, nms_oks_thr=0.9),
        )
    samples = [*make_samples(1), *make_samples(1, input_size=(64, 32))]
    with pytest.raises(ValueError, match=r'\(40, 32\), \(64, 32\)'):
        head.predict(
            [make_feats(), make_feats()], samples, dict(flip_test=True)
        )


@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_what_is_not_finite_is_named(value):
    names = r'heatmap 2 of image 1', r'offset map 2 of image 1', 'embedding'
    channels = 2, 2, 0
    for i, (name, channel) in enumerate(zip(names, channels)):
        maps = make_maps()
        maps[i][1, channel, 3, 4] = value
        with pytest.raises(ValueError, match=f'{name} holds NaN'):
            make_head().decode(maps)


@pytest.mark.parametrize(
    ('index', 'name'), [(0, 'heatmap'), (1, 'offset map')]
)
@pytest.mark.parametrize('value', [torch.nan, -torch.inf])
def test_a_training_step_names_what_is_not_finite(index, name, value):
    maps = make_maps()
    maps[index][1, 2, 3, 4] = value
    head = say(make_head(), maps)
    with pytest.raises(ValueError, match=f'^{name} 2 of image 1 holds NaN'):
        head.loss(None, make_targets())


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
        (poses,) = head.predict((torch.randn(1, 8, 16, 16),), make_samples(1))
    assert poses.keypoints.shape[1:] == (14, 2)
