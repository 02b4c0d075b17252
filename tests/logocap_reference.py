"""Small heads and inputs of LOGO-CAP, and its rules as loops."""

from math import exp, floor

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from mmpose.structures import PoseDataSample
from torch.nn import functional as F

from mmpose_ext.models.heads import LOGOCAPHead

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


def stub_forward(head, maps):
    """A head that predicts these maps."""
    head.forward = lambda feats: maps
    return head


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


# -- One pixel per cell, so that maps hold what is read ---------------------

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


# -- The rules, one number after the other ----------------------------------


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


def oks(k, x, y, person):
    keypoints, visible, area = person
    dx, dy = x - keypoints[k][0], y - keypoints[k][1]
    scale = max(2 * (2 * SIGMAS[k]) ** 2 * area, 1e-6)
    return exp(-(dx**2 + dy**2) / scale) * (visible[k] > 0)


def match(pose, persons):
    """OKS maps with the person that fits best, and that person if any."""
    best = -1, np.zeros((3, 5, 5)), 0, None
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
        if score > best[0]:
            best = score, maps, maps.sum(axis=0).max() / labelled, person
    return best[1:]
