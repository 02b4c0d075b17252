import pytest
import torch
from mmengine.config import Config

from mmpose_ext.analysis import (
    check_network,
    load_call,
    load_network,
)
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError
from mmpose_ext.models.necks import GPRNeck

HRNET = 'td-hm_hrnet-w32_8xb64-210e_coco-256x192'


def test_input_size_is_that_of_the_pipeline(tiny_config):
    cfg = load_config(str(tiny_config))
    cfg.codec.input_size = (32, 32)
    assert check_network(cfg, 'x') == (96, 64)
    assert check_network(cfg, 'x', [8, 4]) == (8, 4)
    with pytest.raises(InputError, match='H and W > 0'):
        check_network(cfg, 'x', (8, 0))


def test_input_size_of_the_codec_and_none():
    cfg = Config(
        dict(
            default_scope='mmpose',
            model=dict(type='TopdownPoseEstimator'),
            codec=dict(type='MSRAHeatmap', input_size=(48, 64)),
        )
    )
    assert check_network(cfg, 'x') == (64, 48)
    cfg.codec = None
    with pytest.raises(InputError, match='x does not tell an input size'):
        check_network(cfg, 'x')


def test_input_size_of_a_detector_is_padded(tiny_detector):
    cfg = load_config(str(tiny_detector[0]))
    cfg.test_dataloader.dataset.pipeline[1].scale = (130, 97)
    assert check_network(cfg, 'x') == (128, 160)


def test_network(tiny_config):
    network = load_network(load_config(str(tiny_config)), batch=2)
    assert network.name == str(tiny_config)
    assert network.args[0].shape == (2, 3, 96, 64)
    assert not network.module.training
    assert network().shape == (2, 17, 24, 16)


def test_dtype(tiny_config):
    cfg = load_config(str(tiny_config))
    network = load_network(cfg, shape=(32, 32), dtype=torch.float64)
    assert network().dtype == torch.float64


def test_detector(tiny_detector):
    network = load_network(load_config(str(tiny_detector[0])))
    scores, boxes, *_ = network()
    assert [s.shape for s in scores] == [(1, 3, 6, 8), (1, 3, 3, 4)]
    assert [b.shape for b in boxes] == [(1, 4, 6, 8), (1, 4, 3, 4)]


def test_two_stage_detector_gets_what_it_asks_of_its_images():
    cfg = load_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    network = load_network(cfg, shape=(64, 96))
    (sample,) = network.kwargs['data_samples']
    assert sample.img_shape == (64, 96)
    # No proposal of the random weights is suppressed; the config's own are.
    scores, deltas = network()[0]
    assert scores.shape == (1000, 81) and deltas.shape == (1000, 320)
    assert cfg.model.test_cfg.rpn.nms.iou_threshold == 0.7


def test_config_without_model_and_with_a_typo(tiny_config):
    with pytest.raises(InputError, match="x: expected a config with a 'mod"):
        load_network(Config(dict(a=1)), 'x')
    cfg = load_config(str(tiny_config))
    cfg.model.backbone.type = 'ResNot'
    with pytest.raises(InputError, match=r"'ResNot' at model\.backbone"):
        load_network(cfg)


def test_part_gets_what_the_network_gives_it(tiny_config):
    part = load_call(f'{tiny_config}@backbone.layer2', batch=2)
    (maps,) = part.args
    assert maps.shape == (2, 8, 24, 16)
    assert part().shape == (2, 16, 12, 8)


def test_part_is_called_on_the_same_maps_again():
    """HRNet's modules change the list that they get."""
    part = load_call(f'{HRNET}@backbone.stage2.0', shape=(64, 64))
    with torch.no_grad():
        first, second = part(), part()
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize(
    'path, message',
    [
        ('bakbone', r"has no module 'bakbone'; did you mean 'backbone"),
        ('head.loss_module', "never calls its module 'head.loss_module'"),
    ],
)
def test_wrong_part(path, message, tiny_config):
    with pytest.raises(InputError, match=message):
        load_call(f'{tiny_config}@{path}')


@pytest.mark.parametrize(
    'spec',
    [
        "dict(type='GPRNeck', in_channels=[8, 16])",
        "{'type': 'GPRNeck', 'in_channels': [8, 16]}",
    ],
)
def test_module_by_itself(spec):
    call = load_call(spec, maps=[(8, 8, 6), (16, 4, 3)], batch=2)
    assert isinstance(call.module, GPRNeck)
    assert [m.shape for m in call.args[0]] == [(2, 8, 8, 6), (2, 16, 4, 3)]
    (merged,) = call()
    assert merged.shape == (2, 8, 8, 6)


def test_module_of_one_map():
    call = load_call("dict(type='BN', num_features=4)", maps=[(4, 2, 2)])
    assert call().shape == (1, 4, 2, 2)


@pytest.mark.parametrize(
    'spec, maps, message',
    [
        ("dict(type='GPRNeck')", [], 'shapes of its maps are needed'),
        ("dict(type='GPRNeck')", [(1, 1, 1)], "argument: 'in_channels'"),
        ("dict(type='GPRNek')", [(1, 1, 1)], "did you mean 'GPRNeck'"),
        ('dict(type=open("x"))', [(1, 1, 1)], 'of plain values'),
        ('dict(channels=3)', [(1, 1, 1)], "expected a dict with a 'type'"),
        ('dict(', [(1, 1, 1)], 'of plain values'),
    ],
)
def test_wrong_module(spec, maps, message):
    with pytest.raises(InputError, match=message):
        load_call(spec, maps=maps)
