import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS

from mmpose_ext.engine.config import load_config
from mmpose_ext.engine.tta import add_tta, scaled_sizes, use_tta
from mmpose_ext.errors import InputError

HRNET = 'td-hm_hrnet-w32_8xb64-210e_coco-256x192'
BOTTOM_UP = 'dekr_hrnet-w32_8xb10-140e_coco-512x512'


def sizes_of(cfg):
    (tta,) = (t for t in cfg.tta_pipeline if t['type'] == 'TestTimeAug')
    return [affine['input_size'] for affine in tta['transforms'][0]]


def test_one_affine_per_scale_takes_the_place_of_the_one():
    cfg = load_config(HRNET)
    before = copy.deepcopy(cfg.test_dataloader.dataset.pipeline)
    add_tta(cfg)
    *loading, tta = cfg.tta_pipeline
    assert loading == before[:2]
    affines, packing = tta['transforms']
    small, *others = affines
    assert [a['input_size'] for a in others] == [(192, 256), (256, 320)]
    assert all(a['type'] == 'TopdownAffine' for a in others)
    # Below 1, a larger box in the same input.
    zoom, affine = small['transforms']
    assert zoom['scale_factor'] == (4 / 3, 4 / 3)
    assert affine == others[0]
    assert packing == [before[3]]
    assert cfg.tta_model == dict(
        type='mmpose.MultiScaleHeatmapTTA', flip_test=True
    )
    assert cfg.test_dataloader.dataset.pipeline == before


def test_what_the_config_has_stays():
    cfg = load_config(HRNET)
    cfg.tta_model = dict(type='MultiScaleHeatmapTTA', flip_test=False)
    add_tta(cfg, (1, 2), divisor=64)
    assert not cfg.tta_model.flip_test
    assert sizes_of(cfg) == [(192, 256), (384, 512)]
    add_tta(cfg, (1, 3))
    assert sizes_of(cfg) == [(192, 256), (384, 512)]

    model = copy.deepcopy(cfg.model)
    use_tta(cfg)
    assert cfg.model == dict(
        type='MultiScaleHeatmapTTA', flip_test=False, module=model
    )
    assert cfg.test_dataloader.dataset.pipeline == cfg.tta_pipeline
    with pytest.raises(InputError, match=r'scales 1, 2: the config has a tta'):
        use_tta(cfg, (1, 2))


def test_samples_have_all_scales(tiny_config):
    cfg = Config.fromfile(tiny_config)
    init_default_scope('mmpose')
    use_tta(cfg, (0.5, 1, 1.5))
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
    shapes = [tuple(x.shape) for x in sample['inputs']]
    assert shapes == [(3, 96, 64), (3, 96, 64), (3, 160, 96)]
    for data, (_, h, w) in zip(sample['data_samples'], shapes):
        assert data.metainfo['input_size'] == (w, h)
        # The same box, made wider or higher.
        assert (data.input_scale >= data.gt_instances.bbox_scales - 1e-3).all()
        assert np.isclose(np.divide(*data.input_scale), w / h)
    half, one, _ = sample['data_samples']
    assert np.allclose(half.input_scale, 2 * one.input_scale)
    assert np.allclose(half.input_center, one.input_center)


def test_pipelines_inside_other_datasets(tiny_config):
    cfg = Config.fromfile(tiny_config)
    inner = cfg.test_dataloader.dataset
    pipeline = copy.deepcopy(inner.pipeline)
    combined = dict(
        type='CombinedDataset',
        datasets=[inner, copy.deepcopy(inner)],
        pipeline=[],
    )
    cfg.test_dataloader.dataset = combined
    use_tta(cfg, (1, 2))
    for dataset in cfg.test_dataloader.dataset.datasets:
        assert dataset.pipeline == cfg.tta_pipeline != pipeline

    cfg = Config.fromfile(tiny_config)
    other = copy.deepcopy(combined)
    other['datasets'][1].pipeline = [dict(pipeline[2], input_size=(32, 48))]
    other['datasets'][0].pipeline = pipeline
    cfg.test_dataloader.dataset = other
    with pytest.raises(InputError, match='different pipelines'):
        add_tta(cfg)


def test_bottom_up_configs_are_refused():
    with pytest.raises(
        InputError, match=r'top-down models.* has LoadImage, BottomupResize'
    ):
        add_tta(load_config(BOTTOM_UP))


@given(
    scales=st.lists(st.floats(0.2, 3), min_size=1, max_size=3, unique=True),
    width=st.integers(64, 400),
    height=st.integers(64, 400),
    divisor=st.sampled_from([1, 8, 16, 32]),
)
def test_sizes_are_multiples_near_the_scale(scales, width, height, divisor):
    try:
        sizes = scaled_sizes((width, height), scales, divisor)
    except InputError as e:
        assert 'both give' in str(e) or 'leaves nothing' in str(e)
        return
    assert len(sizes) == len(scales)
    for scale, size in zip(scales, sizes):
        if scale <= 1:
            assert size == (width, height)
            continue
        for n, side in zip((width, height), size):
            assert side % divisor == 0
            assert abs(side - n * scale) <= divisor / 2 + 1e-6


@pytest.mark.parametrize(
    ('scales', 'divisor', 'message'),
    [
        ((1, 0.05), 32, r'scale 0\.05 leaves .* of 192x256: .* least 0\.084'),
        ((0,), 32, 'scale 0 leaves nothing'),
        ((-1,), 32, 'scale -1 leaves nothing'),
        ((float('nan'),), 32, 'scale nan leaves nothing'),
        ((float('inf'),), 32, 'scale inf leaves nothing'),
        ((1, 1), 32, 'scales 1 and 1 both give an input of 192x256'),
        ((1, 1.05), 32, r'scales 1 and 1\.05 both'),
        ((), 32, 'at least one scale'),
        ('12', 32, "at least one scale, got '12'"),
        (None, 32, 'at least one scale, got None'),
        ((1, '2'), 32, "scales as numbers, got '2'"),
        ((None,), 32, 'scales as numbers, got None'),
        ((1e9,), 32, 'scale 1e.09 makes an input of .* at most 32767 px'),
    ],
)
def test_refuses_scales_that_cannot_be_used(scales, divisor, message):
    with pytest.raises(InputError, match=message):
        scaled_sizes((192, 256), scales, divisor)


def test_smallest_scale_is_one_that_works():
    with pytest.raises(InputError, match=r'at least 0\.084'):
        scaled_sizes((192, 256), [0.083])
    assert scaled_sizes((192, 256), [0.084]) == [(192, 256)]
    with pytest.raises(ValueError, match=r'divisor .* got 0'):
        scaled_sizes((192, 256), (1, 2), 0)
