import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmpose.datasets.transforms import TopdownAffine
from mmpose.registry import DATASETS, MODELS
from mmpose.structures import PoseDataSample

from mmpose_ext.engine.tta import add_tta
from mmpose_ext.errors import InputError
from mmpose_ext.models.tta import (
    MultiScaleHeatmapTTA,
    multi_scale_heatmap_tta,
)

SIZE, SMALLER, LARGER = (128, 192), (96, 144), (160, 240)
MSRA = dict(type='MSRAHeatmap', sigma=2, unbiased=True)
UDP = dict(type='UDPHeatmap', sigma=2)
MEGVII = dict(type='MegviiHeatmap', kernel_size=3)
BACKGROUND = dict(type='BackgroundHeatmap', sigma=7)
STRIDE = 4
K = 3


def make_model(codec, **test_cfg):
    codec = dict(
        codec, input_size=SIZE, heatmap_size=tuple(n // STRIDE for n in SIZE)
    )
    init_default_scope('mmpose')
    return MODELS.build(
        dict(
            type='TopdownPoseEstimator',
            data_preprocessor=dict(type='PoseDataPreprocessor'),
            backbone=dict(
                type='ResNet',
                depth=18,
                stem_channels=8,
                base_channels=8,
                out_indices=(0,),
            ),
            head=dict(
                type='HeatmapHead',
                in_channels=8,
                out_channels=K,
                deconv_out_channels=None,
                decoder=codec,
            ),
            test_cfg=test_cfg,
        )
    )


# ------------------------------------------------ maps that are known exactly


def cell_of(codec, fraction, size):
    """The cell of a place, from what each codec's encoder does with it."""
    pixel = fraction * np.array(size)
    if codec is UDP:
        return fraction * (np.array(size) // STRIDE - 1)
    if codec is BACKGROUND:
        return (pixel - (STRIDE - 1) / 2) / STRIDE
    return pixel / STRIDE - (0.5 if codec is MEGVII else 0)


def gaussians(cells, columns, rows, height, sigma):
    """(K, H, W) from cells (K, 2) and the cells at which they are wanted."""
    x = np.exp(-((columns - cells[:, :1]) ** 2) / (2 * sigma**2))
    y = np.exp(-((rows - cells[:, 1:]) ** 2) / (2 * sigma**2))
    return height * y[..., None] * x[:, None]


def make_person(size, center, box, maps):
    """What the module returns for a person at one scale."""
    scale = TopdownAffine._fix_aspect_ratio(box[None], size[0] / size[1])[0]
    sample = PoseDataSample(
        metainfo=dict(input_size=size, input_center=center, input_scale=scale),
        gt_instances=InstanceData(
            bboxes=np.zeros((1, 4)), bbox_scores=np.ones(1)
        ),
        pred_instances=InstanceData(keypoints=np.zeros((1, K, 2))),
    )
    sample.pred_fields = PixelData(heatmaps=maps(size, center, scale))
    return sample


def known_person(codec, sizes, seed=0, sigma=2.0):
    """One person at all scales, and where its keypoints are, (K, 2) px."""
    rng = np.random.default_rng(seed)
    center, box = rng.uniform(100, 900, 2), rng.uniform(60, 300, 2)
    points = center + rng.uniform(-0.25, 0.25, (K, 2)) * box

    def maps(size, center, scale):
        cells = cell_of(codec, (points - center) / scale + 0.5, size)
        drawn = gaussians(
            cells, *(np.arange(n // STRIDE) for n in size), peak(codec), sigma
        )
        if codec is BACKGROUND:
            drawn = np.concatenate([drawn, 1 - drawn.max(0, keepdims=True)])
        return torch.from_numpy(drawn).float()

    samples = tuple(make_person(s, center, box, maps) for s in sizes)
    return samples, points


def peak(codec):
    return 255.0 if codec is MEGVII else 1.0


CODECS = pytest.mark.parametrize(
    ('codec', 'tolerance'),
    # In cells: MegviiHeatmap decodes to quarters, BackgroundHeatmap to pixels.
    [(MSRA, 0.02), (UDP, 0.02), (MEGVII, 0.36), (BACKGROUND, 0.36)],
    ids=lambda v: v['type'] if isinstance(v, dict) else '',
)
SIZES = pytest.mark.parametrize(
    'sizes',
    [
        [SMALLER, SIZE, LARGER],
        [(96, 160), SIZE, (160, 224)],  # other aspect ratios: other boxes
        [(192, 128), SMALLER],  # none is the codec's: the first one's box
        [(96, 128)],
    ],
    ids=str,
)


@CODECS
@SIZES
def test_merged_maps_put_the_keypoints_where_they_are(codec, tolerance, sizes):
    tta = MultiScaleHeatmapTTA(make_model(codec))
    persons, points = zip(*(known_person(codec, sizes, s) for s in range(4)))
    merged = tta.merge_preds(persons)
    for sample, samples, expected in zip(merged, persons, points):
        assert sample is samples[sizes.index(SIZE) if SIZE in sizes else 0]
        found = sample.pred_instances.keypoints
        assert found.shape == (1, K, 2)
        cell = sample.input_scale / (np.array(SIZE) / STRIDE)
        error = np.linalg.norm((found[0] - expected) / cell, axis=-1)
        assert error.max() < tolerance
        assert 'pred_fields' not in sample.all_keys()


@CODECS
def test_merged_maps_are_the_mean_of_the_known_maps(codec, tolerance):
    sizes = [SMALLER, SIZE, (160, 224)]
    tta = MultiScaleHeatmapTTA(make_model(codec, output_heatmaps=True))
    samples, points = known_person(codec, sizes, sigma=4)
    (merged,) = tta.merge_preds([samples])
    found = merged.pred_fields.heatmaps.numpy()[:K]

    frame = samples[1]
    frame_corner = frame.input_center - frame.input_scale / 2
    if codec is BACKGROUND:  # all pixels of the input
        width, height = SIZE
        first, step = np.zeros(2), 1 / np.array(SIZE)
    else:
        width, height = (n // STRIDE for n in SIZE)
        zero, one = (cell_of(codec, np.full(2, v), SIZE) for v in (0.0, 1.0))
        step = 1 / (one - zero)
        first = -zero * step
    expected, inside = [], np.ones((height, width), dtype=bool)
    for sample, size in zip(samples, sizes):
        corner = sample.input_center - sample.input_scale / 2
        i = np.arange(max(width, height))[:, None]
        image = (first + i * step) * frame.input_scale + frame_corner
        x, y = cell_of(codec, (image - corner) / sample.input_scale, size).T
        x, y = x[:width], y[:height]
        cells = cell_of(codec, (points - corner) / sample.input_scale, size)
        expected.append(gaussians(cells, x, y, peak(codec), 4))
        # Where four cells in a row are known.
        inside &= (x >= 1) & (x <= size[0] // STRIDE - 2)
        inside &= ((y >= 1) & (y <= size[1] // STRIDE - 2))[:, None]
    assert found.shape == (K, height, width)
    assert inside.sum() > 0.7 * inside.size
    error = abs(found - np.mean(expected, axis=0)) / peak(codec)
    # Of the interpolation, here of two maps of three; a tenth of a cell would
    # be 0.015 in each.
    limit = 0.01 if codec is BACKGROUND else 0.005
    assert error[:, inside].max() < limit


# ------------------------------------------------------- naive and in batches


def cubic(t, a=-0.75):
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def read(row, at):
    """Cubic interpolation of a row (n, ...), whose ends go on."""
    first = int(np.floor(at)) - 1
    taps = range(first, first + 4)
    return sum(cubic(at - i) * row[min(max(i, 0), len(row) - 1)] for i in taps)


def test_resampling_is_that_of_a_loop_over_cells():
    rng = np.random.default_rng(0)
    sizes = [(96, 160), SIZE]
    center, box = np.array([31.5, 77.25]), np.array([50.0, 61.0])

    def maps(size, center, scale):
        return torch.from_numpy(
            rng.normal(size=(2, size[1] // STRIDE, size[0] // STRIDE))
        ).float()

    samples = [make_person(s, center, box, maps) for s in sizes]
    small, frame = samples
    expected = np.empty((2, 48, 32))
    for j in range(48):
        for i in range(32):
            image = (
                np.array([i, j]) * STRIDE / SIZE * frame.input_scale
                + frame.input_center
                - frame.input_scale / 2
            )
            pixel = (
                (image - small.input_center) / small.input_scale + 0.5
            ) * sizes[0]
            x, y = pixel / STRIDE
            source = small.pred_fields.heatmaps.numpy()
            line = read(np.moveaxis(source, 1, 0), y)  # (C, w)
            expected[:, j, i] = read(line.T, x)
    expected = (expected + frame.pred_fields.heatmaps.numpy()) / 2

    tta = MultiScaleHeatmapTTA(make_model(MSRA, output_heatmaps=True))
    (merged,) = tta.merge_preds([samples])
    torch.testing.assert_close(
        merged.pred_fields.heatmaps.double(),
        torch.from_numpy(expected),
        rtol=0,
        atol=2e-5,
    )


def test_a_map_of_one_cell_has_its_value_everywhere():
    maps = torch.tensor([[[[3.0]]], [[[-2.0]]]])
    a, b = np.ones((2, 2)), np.zeros((2, 2))
    found = multi_scale_heatmap_tta._sample(maps, a, b, (3, 2))
    assert torch.equal(found, maps.expand(2, 1, 2, 3))


# ------------------------------------------------------------- a whole model


def predict(tiny_config, codec=None, head=None, scales=None, **kwargs):
    """Predictions for three samples, with and without augmentation."""
    cfg = Config.fromfile(tiny_config)
    init_default_scope('mmpose')
    if codec is not None:
        cfg.model.head.decoder = codec
        cfg.test_dataloader.dataset.pipeline[2].use_udp = codec is UDP
    cfg.model.merge_from_dict(head or {}) if head else None
    cfg.model.test_cfg.update(kwargs.pop('test_cfg', {}))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    dataset = cfg.test_dataloader.dataset
    if scales is not None:
        add_tta(cfg, scales)
        dataset.pipeline = cfg.tta_pipeline
        model = MultiScaleHeatmapTTA(model, **kwargs).eval()
    dataset = DATASETS.build(dataset)
    with torch.no_grad():
        return model.test_step(pseudo_collate([dataset[i] for i in range(3)]))


@pytest.mark.parametrize(('codec', 'flip'), [(MSRA, True), (UDP, False)])
def test_one_scale_is_the_plain_model(codec, flip, tiny_config):
    codec = dict(codec, input_size=(64, 96), heatmap_size=(16, 24))
    plain = predict(tiny_config, codec, test_cfg=dict(flip_test=flip))
    augmented = predict(tiny_config, codec, scales=[1], flip_test=flip)
    other = predict(tiny_config, codec, scales=[1], flip_test=not flip)
    for a, b, c in zip(plain, augmented, other):
        a, b, c = a.pred_instances, b.pred_instances, c.pred_instances
        assert set(a.keys()) == set(b.keys())
        for key in a.keys():  # noqa: SIM118, InstanceData iterates otherwise
            np.testing.assert_allclose(a[key], b[key], rtol=0, atol=1e-5)
        assert abs(a.keypoints - c.keypoints).max() > 1e-3


def test_a_head_that_also_predicts_visibility(visibility_config):
    def visible(*args, **kwargs):
        found = predict(visibility_config, *args, **kwargs)
        return np.array([s.pred_instances.keypoints_visible for s in found])

    plain = predict(visibility_config, test_cfg=dict(flip_test=True))
    one = predict(visibility_config, scales=[1])
    for a, b in zip(plain, one):
        a, b = a.pred_instances, b.pred_instances
        assert set(a.keys()) == set(b.keys())
        for key in a.keys():  # noqa: SIM118, InstanceData iterates otherwise
            np.testing.assert_allclose(a[key], b[key], rtol=0, atol=1e-5)
    at_1, at_2 = visible(scales=[1]), visible(scales=[2])
    assert at_1.shape == (3, 1, 17)
    assert abs(at_1 - at_2).max() > 1e-4
    both = visible(scales=[1, 2])
    np.testing.assert_allclose(both, (at_1 + at_2) / 2, rtol=0, atol=1e-6)


def test_samples_stay_fit_for_metrics(tiny_config):
    plain = predict(tiny_config)
    augmented = predict(tiny_config, scales=(0.5, 1, 1.5))
    for a, b in zip(plain, augmented):
        assert a.metainfo['id'] == b.metainfo['id']
        assert a.metainfo['input_size'] == b.metainfo['input_size']
        for key in ('bboxes', 'bbox_scales', 'keypoints', 'bbox_scores'):
            assert np.array_equal(a.gt_instances[key], b.gt_instances[key])
        assert set(a.all_keys()) == set(b.all_keys())
        assert np.isfinite(b.pred_instances.keypoints).all()
        difference = a.pred_instances.keypoints - b.pred_instances.keypoints
        assert abs(difference).max() > 0


def test_keypoints_are_selected_after_merging(tiny_config):
    indices = [5, 0, 11]
    every = predict(tiny_config, scales=(0.5, 1))
    test_cfg = dict(output_keypoint_indices=indices, output_heatmaps=True)
    some = predict(tiny_config, scales=(0.5, 1), test_cfg=test_cfg)
    for a, b in zip(every, some):
        assert np.array_equal(
            a.pred_instances.keypoints[:, indices], b.pred_instances.keypoints
        )
        assert b.pred_fields.heatmaps.shape == (3, 24, 16)


def test_module_keeps_its_own_options():
    model = make_model(MSRA, flip_test=False)
    tta = MultiScaleHeatmapTTA(model)
    assert tta.scale_cfg['flip_test'] and tta.scale_cfg['output_heatmaps']
    seen = []
    model.test_step = lambda data: seen.append(model.test_cfg) or []
    with pytest.raises(IndexError):
        tta.test_step(dict(inputs=[[]], data_samples=[[]]))
    assert seen == [tta.scale_cfg]
    assert model.test_cfg == dict(flip_test=False)


def test_weights_are_those_of_the_module():
    from mmengine.runner.checkpoint import load_state_dict

    source, target = make_model(MSRA), make_model(MSRA)
    load_state_dict(MultiScaleHeatmapTTA(target), source.state_dict(), True)
    torch.testing.assert_close(source.state_dict(), target.state_dict())


# ------------------------------------------------------------------- bad input


def test_refuses_models_without_heatmaps_to_average():
    with pytest.raises(ValueError, match=r"flip_test .* got 'yes'"):
        MultiScaleHeatmapTTA(make_model(MSRA), 'yes')
    model = make_model(dict(UDP, heatmap_type='combined'))
    with pytest.raises(InputError, match="heatmap_type='combined'"):
        MultiScaleHeatmapTTA(model)
    model = make_model(MSRA)
    model.head.decoder = None
    with pytest.raises(InputError, match='codec of HeatmapHead is none'):
        MultiScaleHeatmapTTA(model)
    init_default_scope('mmpose')
    model.head = MODELS.build(
        dict(
            type='RTMCCHead',
            in_channels=8,
            out_channels=K,
            input_size=SIZE,
            in_featuremap_size=(2, 3),
            decoder=dict(type='SimCCLabel', input_size=SIZE),
        )
    )
    with pytest.raises(InputError, match='of RTMCCHead is SimCCLabel; expect'):
        MultiScaleHeatmapTTA(model)
    with pytest.raises(InputError, match='for top-down models, got a Linear'):
        linear = torch.nn.Linear(1, 1)
        linear.test_step = None
        MultiScaleHeatmapTTA(linear)


def test_names_the_head_that_gives_no_heatmaps():
    tta = MultiScaleHeatmapTTA(make_model(MSRA))
    (sample,), _ = known_person(MSRA, [SIZE])
    del sample.pred_fields
    with pytest.raises(InputError, match='HeatmapHead returned no'):
        tta.merge_preds([(sample,)])
