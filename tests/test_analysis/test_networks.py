import pytest
from mmengine.config import Config

from mmpose_ext.analysis import check_network, load_network
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError


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
    with pytest.raises(InputError, match='x states no input size'):
        check_network(cfg, 'x')


def test_input_size_of_a_detector_is_padded(tiny_detector):
    cfg = load_config(str(tiny_detector[0]))
    cfg.test_dataloader.dataset.pipeline[1].scale = (130, 97)
    assert check_network(cfg, 'x') == (128, 160)


def test_network(tiny_config):
    cfg = load_config(str(tiny_config))
    network, images, kwargs = load_network(cfg, batch=2)
    assert images.shape == (2, 3, 96, 64)
    assert not network.training
    assert network(images, **kwargs).shape == (2, 17, 24, 16)
    network, images, _ = load_network(cfg, shape=(32, 32), device='meta')
    assert images.is_meta and images.shape == (1, 3, 32, 32)
    assert all(p.is_meta for p in network.parameters())


def test_detector(tiny_detector):
    cfg = load_config(str(tiny_detector[0]))
    network, images, kwargs = load_network(cfg)
    scores, boxes, *_ = network(images, **kwargs)
    assert [s.shape for s in scores] == [(1, 3, 6, 8), (1, 3, 3, 4)]
    assert [b.shape for b in boxes] == [(1, 4, 6, 8), (1, 4, 3, 4)]


def test_two_stage_detector_gets_what_it_asks_of_its_images():
    cfg = load_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    network, images, kwargs = load_network(cfg, shape=(64, 96))
    (sample,) = kwargs['data_samples']
    assert sample.img_shape == (64, 96)
    # No proposal of the random weights is suppressed; the config's own are.
    scores, deltas = network(images, **kwargs)[0]
    assert scores.shape == (1000, 81) and deltas.shape == (1000, 320)
    assert cfg.model.test_cfg.rpn.nms.iou_threshold == 0.7


def test_config_without_model_and_with_a_typo(tiny_config):
    with pytest.raises(InputError, match="x: expected a config with a 'mod"):
        load_network(Config(dict(a=1)), 'x')
    cfg = load_config(str(tiny_config))
    cfg.model.backbone.type = 'ResNot'
    with pytest.raises(InputError, match=r"'ResNot' at model\.backbone"):
        load_network(cfg)
