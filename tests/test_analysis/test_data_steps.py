import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmpose.registry import TRANSFORMS

from mmpose_ext.analysis.data_steps import (
    load_batches,
    load_transform,
    make_results,
)
from mmpose_ext.analysis.literals import parse_dict
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError

SHAPE = (48, 64)
OURS = [
    "dict(type='BodyMasking', prob=1.0, mark_occluded=True)",
    "dict(type='KeypointMasking', prob=1.0, fill='background')",
    "dict(type='Cutout')",
    "dict(type='ChannelPermutation', prob=1.0)",
    "dict(type='PaddedTopdownAffine', input_size=(24, 32))",
    "dict(type='BottomupShortSideResize', input_size=(64, 64))",
    "dict(type='BottomupShortSideAffine', input_size=(64, 64))",
    "dict(type='BottomupGridMask')",
]
THEIRS = [
    "dict(type='TopdownAffine', input_size=(24, 32))",
    "dict(type='BottomupResize', input_size=(64, 64), resize_mode='expand')",
    "dict(type='BottomupRandomAffine', input_size=(64, 64))",
    "dict(type='BottomupGetHeatmapMask')",
    "dict(type='RandomFlip', prob=1.0)",
    "dict(type='PhotometricDistortion')",
    "dict(type='GetBBoxCenterScale')",
    "dict(type='RandomHalfBody', prob=1.0)",
]


@pytest.mark.parametrize('persons', [1, 3])
def test_results(persons):
    results = make_results(persons, SHAPE)
    assert results['img'].shape == (48, 64, 3)
    assert results['img'].dtype == np.uint8 and results['img'].std() > 50
    for key in ('keypoints', 'keypoints_visible', 'bbox', 'area'):
        assert len(results[key]) == persons
    for (x1, y1, x2, y2), keypoints, centre, scale in zip(
        *(results[k] for k in ('bbox', 'keypoints')),
        *(results[k] for k in ('bbox_center', 'bbox_scale')),
    ):
        np.testing.assert_allclose(keypoints.min(0), (x1, y1))
        np.testing.assert_allclose(keypoints.max(0), (x2, y2))
        np.testing.assert_allclose(centre, ((x1 + x2) / 2, (y1 + y2) / 2))
        np.testing.assert_allclose(scale, (1.25 * (x2 - x1), 1.25 * (y2 - y1)))
    assert results['input_size'] == (64, 64)
    assert results['heatmaps'].shape == (17, 16, 16)
    middle = results['warp_mat'] @ (32, 24, 1)
    np.testing.assert_allclose(middle, (32, 32), atol=1e-4)
    again, other = (
        make_results(persons, SHAPE),
        make_results(persons, SHAPE, 1),
    )
    assert (again['img'] == results['img']).all()
    assert (other['img'] != results['img']).any()


@pytest.mark.parametrize('spec', OURS + THEIRS)
def test_transforms(spec):
    """Any number of calls, each of them with the image as it was."""
    call = load_transform(spec, shape=SHAPE)
    assert call.name == spec
    first = call()
    before = make_results(1 if 'Topdown' in spec else 3, SHAPE)
    fresh = TRANSFORMS.build(parse_dict(spec))
    for _ in range(3):
        np.random.seed(5)
        again = call()
        np.random.seed(5)
        expected = fresh({**before})
        before = make_results(1 if 'Topdown' in spec else 3, SHAPE)
        assert again.keys() == expected.keys() == first.keys()
        for key in ('img', 'keypoints', 'area', 'heatmap_mask'):
            if key in expected:
                np.testing.assert_array_equal(again[key], expected[key])


def test_what_is_written_to_is_copied():
    class Darken:
        def __call__(self, results):
            results['img'] //= 2
            return results

    ROOT_TRANSFORMS.register_module('Darken', module=Darken)
    try:
        call = load_transform("dict(type='Darken')", 'x', shape=SHAPE)
    finally:
        ROOT_TRANSFORMS.module_dict.pop('Darken')
    expected = make_results(3, SHAPE)['img'] // 2
    results = [call() for _ in range(3)]
    for result in results:
        np.testing.assert_array_equal(result['img'], expected)
    # Only that: the rest is shared.
    first, second, _ = results
    assert first['img'] is not second['img']
    assert first['keypoints'] is second['keypoints']


@pytest.mark.parametrize('shape', [None, SHAPE])
def test_shape(shape):
    spec = "dict(type='Cutout')"
    img = load_transform(spec, shape=shape)()['img']
    assert img.shape == (*(shape or (480, 640)), 3)


def test_albumentations_by_name():
    pytest.importorskip('albumentations')
    spec = (
        "dict(type='Albumentation', transforms=[dict(type='OneOf', p=1.0, "
        "transforms=[dict(type='CoarseDropout', p=1.0, fill=0)])])"
    )
    before = make_results(3, SHAPE)['img']
    after = load_transform(spec, shape=SHAPE)()['img']
    changed = (after != before).any(-1)
    assert changed.any() and (after[changed] == 0).all()
    wrong = spec.replace('CoarseDropout', 'CoarseDropuot')
    with pytest.raises(InputError, match="did you mean 'CoarseDropout'"):
        load_transform(wrong, shape=SHAPE)


def test_albumentations_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'albumentations', None)
    with pytest.raises(InputError, match=r'x: .* pip install albumentations'):
        load_transform("dict(type='Albumentation', transforms=[])", 'x')


@pytest.mark.parametrize(
    ('spec', 'message'),
    [
        ("dict(type='Cutuot')", "did you mean 'Cutout'"),
        ("dict(type='Cutout', num_holes=0)", 'x: num_holes .* got 0'),
        ("dict(type='Cutout', holes=1)", "x: .*argument 'holes'"),
        ('Cutout', 'Cutout: expected dict'),
        (
            "dict(type='GenerateTarget', encoder=dict(type='MSRAHeatmap', "
            'input_size=(64, 48), heatmap_size=(16, 12), sigma=1))',
            'let GenerateTarget transform an image of 3',
        ),
    ],
)
def test_wrong_transform(spec, message):
    with pytest.raises(InputError, match=message):
        load_transform(spec, 'x', shape=SHAPE)


def test_batches(tiny_config):
    call = load_batches(load_config(str(tiny_config)), batch=5)
    assert call.name == str(tiny_config) and call.images == 5
    seen = set()
    for _ in range(20):
        batch = call()
        assert len(batch['inputs']) == len(batch['data_samples']) == 5
        assert batch['inputs'][0].shape == (3, 96, 64)
        seen |= {sample.id for sample in batch['data_samples']}
    assert len(seen) > 5


def test_batches_of_workers(tiny_config):
    cfg = load_config(str(tiny_config))
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True)
    call = load_batches(cfg, 'x', 2)
    assert len(call()['inputs']) == 2


def test_batches_of_a_detector(toy_persons):
    cfg = load_config(
        str(
            Path(__file__).parents[2]
            / 'configs'
            / 'person_detector'
            / 'rtmdet_r18-w16_1xb8-10e_toy-persons-192x144.py'
        )
    )
    cfg.train_dataloader.dataset.data_root = str(toy_persons)
    assert len(load_batches(cfg, batch=2)()['inputs']) == 2


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(train_dataloader=None), "with a 'train_dataloader.dataset'"),
        (
            {'train_dataloader.dataset.ann_file': 'no.json'},
            r'no\.json',
        ),
        (
            {'train_dataloader.dataset.data_prefix.img': 'no/'},
            "'.*no/?'",
        ),
        (
            {'train_dataloader.dataset.type': 'CocoDatasett'},
            "did you mean 'CocoDataset'",
        ),
    ],
)
def test_wrong_data(change, message, tiny_config):
    cfg = load_config(str(tiny_config))
    cfg.merge_from_dict(change)
    with pytest.raises(InputError, match=message):
        load_batches(cfg, 'x')


def test_too_few_samples(tiny_config):
    cfg = load_config(str(tiny_config))
    with pytest.raises(InputError, match=r'x: .* a batch of 9999, got \d+'):
        load_batches(cfg, 'x', 9999)
