import pytest
import torch

from mmpose_ext.analysis.pose_steps import STEPS
from mmpose_ext.analysis.specs import load_spec, step_of
from mmpose_ext.errors import InputError

NECK = "dict(type='GPRNeck', in_channels=[8, 16])"
MAPS = [(8, 8, 6), (16, 4, 3)]


def test_a_step_is_told_from_a_config():
    for step in STEPS:
        assert step_of(f'{step}:x.py') == step
    for spec in ('x.py', 'mmpose::x.py', 'a:b', NECK, 'train', 'x.py@a.b'):
        assert step_of(spec) == ('train' if spec == 'train' else None)


def test_the_same_each_time(tiny_config):
    for spec, options in ((str(tiny_config), {}), (NECK, dict(maps=MAPS))):
        first, again = (load_spec(spec, **options) for _ in range(2))
        with torch.inference_mode():
            torch.testing.assert_close(first(), again(), rtol=0, atol=0)


def test_images_of_a_call(tiny_config):
    images = {
        spec: load_spec(spec, batch=2, persons=1).images
        for spec in (
            str(tiny_config),
            f'predict:{tiny_config}',
            f'encode:{tiny_config}',
            f'{tiny_config}@backbone',
        )
    }
    assert list(images.values()) == [2, 2, 0, 0]


def test_codec_by_itself():
    codec = "dict(type='MSRAHeatmap', input_size=(64, 96), "
    codec += 'heatmap_size=(16, 24), sigma=1)'
    call = load_spec(f'encode:{codec}', persons=1)
    assert call()['heatmaps'].shape == (17, 24, 16)


def test_transform_and_batch(tiny_config):
    call = load_spec("transform:dict(type='Cutout')", shape=(48, 64))
    assert call()['img'].shape == (48, 64, 3)
    call = load_spec(f'batch:{tiny_config}', batch=3)
    assert len(call()['inputs']) == call.images == 3


def test_precision(tiny_config):
    call = load_spec(str(tiny_config), dtype='bfloat16')
    assert call.args[0].dtype == torch.bfloat16
    with pytest.raises(InputError, match='steps work in float32, got bfl'):
        load_spec(f'predict:{tiny_config}', dtype='bfloat16')
