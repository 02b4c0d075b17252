from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS
from torch import nn

from mmpose_ext.analysis import receptive_field as module
from mmpose_ext.analysis.receptive_field import (
    heatmap_function,
    receptive_field,
)
from mmpose_ext.errors import InputError

H, W = 40, 48
IMAGE = torch.randint(
    256, (3, H, W), generator=torch.Generator().manual_seed(1)
)


def box_network(side, stride, cells):
    """Mean of side x side px at every stride px; keypoint k has one cell."""

    def heatmaps_of(images):
        mean = F.avg_pool2d(images.mean(1, keepdim=True), side, stride)
        maps = mean.new_zeros(len(images), len(cells), *mean.shape[2:])
        for k, (y, x) in enumerate(cells):
            maps[:, k, y, x] = mean[:, 0, y, x]
        return maps

    return heatmaps_of


@pytest.mark.parametrize(('side', 'stride'), [(1, 1), (5, 2), (8, 8)])
def test_field_of_a_box_filter_is_its_box(side, stride):
    cells = [(2, 3), (4, 1)]
    field = receptive_field(
        box_network(side, stride, cells), IMAGE, window=1, stride=1
    )
    expected = torch.zeros(2, H, W, dtype=torch.bool)
    for k, (y, x) in enumerate(cells):
        top, left = y * stride, x * stride
        expected[k, top : top + side, left : left + side] = True
    # A random value may be that of the image.
    found = field.differences > 0
    assert not (found & ~expected).any()
    assert (found ^ expected).sum() <= 1
    if (found == expected).all():
        area = torch.full((2,), 100 * side**2 / (H * W)).double()
        torch.testing.assert_close(field.area(0), area)


@pytest.mark.parametrize(('window', 'stride'), [(3, 1), (5, 4), (11, 7)])
def test_windows_that_touch_the_box_are_the_field(window, stride):
    top, left, side = 14, 21, 7
    network = box_network(side, 7, [(2, 3)])
    field = receptive_field(network, IMAGE, window, stride)
    expected = []
    for length, start in ((H, top), (W, left)):
        # The first window starts, and the last one ends, at an edge; each
        # pixel is one of the nearest window's.
        starts = sorted({*range(0, length - window, stride), length - window})
        centres = torch.tensor(starts) + (window - 1) / 2
        touches = (centres - start - (side - 1) / 2).abs() * 2 < window + side
        nearest = (torch.arange(length)[:, None] - centres).abs().argmin(1)
        expected.append(touches[nearest])
    expected = expected[0][:, None] & expected[1]
    assert torch.equal(field.differences[0] > 0, expected)
    torch.testing.assert_close(
        field.area(0)[0], 100 * expected.double().mean()
    )


def test_difference_is_the_sum_of_absolute_differences():
    network = nn.Conv2d(3, 2, 3, padding=1).eval()
    field = receptive_field(network, IMAGE, window=10, stride=10, seed=3)
    generator = torch.Generator().manual_seed(3)
    tops, lefts = [0, 10, 20, 30], [0, 10, 20, 30, 38]
    patches = torch.randint(
        256, (20, 10, 10, 3), dtype=torch.uint8, generator=generator
    )
    with torch.no_grad():
        clean = network(IMAGE.float()[None])
        for i, top in enumerate(tops):
            for j, left in enumerate(lefts):
                image = IMAGE.float()
                patch = patches[5 * i + j].permute(2, 0, 1)
                image[:, top : top + 10, left : left + 10] = patch
                changed = network(image[None])
                expected = (changed - clean).abs().sum((0, 2, 3))
                found = field.differences[:, top + 5, min(left + 4, 47)]
                torch.testing.assert_close(
                    found, expected.double(), rtol=1e-4, atol=1e-3
                )


def test_batches_do_not_matter(monkeypatch):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 3, 3)
    )
    calls = []

    def counting(images):
        calls.append(len(images))
        return network(images / 255)

    whole = receptive_field(counting, IMAGE, 8, 8)
    monkeypatch.setattr(module, '_BATCH', 7)
    parts = receptive_field(counting, IMAGE, 8, 8)
    assert calls == [31, 8, 8, 8, 8, 3]  # 30 windows; each with the clean one
    torch.testing.assert_close(
        whole.differences, parts.differences, rtol=1e-5, atol=1e-5
    )
    other = receptive_field(counting, IMAGE, 8, 8, seed=1)
    assert (whole.differences - other.differences).abs().max() > 0.1


def test_keypoint_that_nothing_changes_has_no_field():
    def half_dead(images):
        maps = images[:, :2].clone()
        maps[:, 1] = 0.25
        return maps

    field = receptive_field(half_dead, IMAGE)
    assert field.area(0)[1] == 0 and field.area()[0] > 0
    assert field.relative().isfinite().all()
    assert field.relative().amax((1, 2)).tolist() == [1, 0]
    assert field.relative().shape == (2, H, W)


def test_area_falls_with_the_threshold():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 2, 5)
    field = receptive_field(network, IMAGE)
    areas = torch.stack([field.area(t) for t in (0, 0.3, 0.6, 0.9)])
    assert (areas.diff(dim=0) <= 0).all() and (areas[-1] > 0).all()
    for wrong in (1, -0.1, float('nan')):
        with pytest.raises(InputError, match='from 0 to below 1'):
            field.area(wrong)


def test_progress_sees_the_batches():
    seen = []

    def track(batches):
        for b in batches:
            seen.append(b)
            yield b

    receptive_field(lambda x: x, IMAGE, 6, 6, track=track)
    assert seen == [0, 32]  # of 7 times 8 windows


@pytest.mark.parametrize(
    ('window', 'stride', 'message'),
    [
        (0, 1, 'window of 1 to 40 px for an input of 48x40, got 0'),
        (41, 1, 'got 41'),
        (5, 6, 'stride of 1 to 5 px.* got 6'),
        (5, 0, 'got 0'),
    ],
)
def test_refuses_windows_that_do_not_cover(window, stride, message):
    with pytest.raises(InputError, match=message):
        receptive_field(lambda x: x, IMAGE, window, stride)


# --------------------------------------------------------------------- models


@pytest.fixture
def model(tiny_config):
    init_default_scope('mmpose')
    torch.manual_seed(0)
    return MODELS.build(Config.fromfile(tiny_config).model).eval()


def test_function_of_a_model_starts_at_the_raw_image(model):
    images = IMAGE[None, :, :32, :32].float()
    with torch.no_grad():
        found = heatmap_function(model, 17)(images)
        rgb = (images.flip(1) - 128) / 64  # as the config says
        expected = model.head(model.extract_feat(rgb))
    torch.testing.assert_close(found, expected)
    assert found.shape[1] == 17


def test_stages_background_and_offsets(model, monkeypatch):
    images = torch.rand(2, 3, 32, 32)
    maps = torch.rand(2, 6, 8, 8)
    stages = [[torch.rand(2, 6, 8, 8)], [torch.rand(2, 6, 8, 8), maps]]
    monkeypatch.setattr(model.head, 'forward', lambda feats: stages)
    assert torch.equal(heatmap_function(model)(images), maps)
    assert torch.equal(heatmap_function(model, 5)(images), maps[:, :5])
    model.head.decoder = SimpleNamespace(heatmap_type='combined')
    assert torch.equal(heatmap_function(model, 2)(images), maps[:, ::3])


def test_refuses_models_without_heatmaps(model, monkeypatch):
    with pytest.raises(InputError, match='TopdownPoseEstimator, got a Linear'):
        heatmap_function(nn.Linear(1, 1))
    for wrong in ((torch.rand(1, 2, 3),) * 2, torch.rand(1, 2, 3), []):
        monkeypatch.setattr(model.head, 'forward', lambda _, w=wrong: w)
        with pytest.raises(
            InputError, match='HeatmapHead returns no heatmaps'
        ):
            heatmap_function(model)(torch.rand(1, 3, 32, 32))
