from pathlib import Path

import numpy as np
import pytest
import torch
from mmpose.registry import KEYPOINT_CODECS
from torch import nn

from mmpose_ext.analysis.pose_steps import (
    load_decode,
    load_encode,
    load_predict,
    load_step,
    make_persons,
)
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError

CONFIGS = Path(__file__).parents[2] / 'configs'
LOGOCAP = str(
    CONFIGS / 'logocap' / 'logocap_hrnet-w32_4xb12-140e_coco-512x512.py'
)
DEKR = (
    'mmpose::body_2d_keypoint/dekr/coco/'
    'dekr_hrnet-w32_8xb10-140e_coco-512x512.py'
)
SIZE = (64, 64)


def load_bottomup(path):
    cfg = load_config(path)
    if path == LOGOCAP:  # 30 poses take a while
        cfg.model.head.update(
            embedding_channels=4, refinement_channels=(8, 8, 8)
        )
    return cfg


def run(call):
    with torch.inference_mode():
        return call()


def forwards(module):
    """The list to which the module's forwards are added from now on."""
    seen = []
    module.register_forward_hook(lambda *args: seen.append(args[0]))
    return seen


def test_persons():
    people = make_persons(4, (320, 200))
    keypoints = people['keypoints']
    assert keypoints.shape == (4, 17, 2)
    assert (keypoints >= 0).all() and (keypoints < (320, 200)).all()
    assert (people['keypoints_visible'] == np.ones((4, 17))).all()
    for person, area, corners in zip(
        keypoints, people['area'], people['bbox']
    ):
        (x0, y0), (x1, y1) = person.min(axis=0), person.max(axis=0)
        assert area == pytest.approx(0.53 * (x1 - x0) * (y1 - y0))
        assert set(map(tuple, corners)) == {
            (x, y) for x in (x0, x1) for y in (y0, y1)
        }
        # Of the image's width or height, whichever is the smaller share.
        share = max((x1 - x0) / 319, (y1 - y0) / 199)
        assert 0.3 - 1e-4 < share < 0.8 + 1e-4
    centers = keypoints.mean(axis=1)
    assert len(np.unique(centers.round(), axis=0)) == 4


def test_persons_are_the_same_again():
    first, again, other = (make_persons(2, (64, 48), s) for s in (0, 0, 1))
    assert (first['keypoints'] == again['keypoints']).all()
    assert (first['keypoints'] != other['keypoints']).any()


@pytest.mark.parametrize('config', [LOGOCAP, DEKR])
def test_encode_is_the_codecs(config):
    cfg = load_config(config)
    call = load_step(f'encode:{config}', persons=2)
    assert call.name == f'encode:{config}'
    codec = KEYPOINT_CODECS.build(cfg.codec)
    people = make_persons(2, cfg.codec.input_size)
    keys = ['keypoints', 'keypoints_visible', *codec.auxiliary_encode_keys]
    expected = codec.encode(**{key: people[key] for key in keys})
    result = run(call)
    assert result.keys() == expected.keys()
    for key, maps in expected.items():
        np.testing.assert_array_equal(result[key], maps)
    # Both persons are in the targets.
    assert (result['heatmaps'][-1] > 0.9).sum() >= 2


def test_encode_of_a_codec_for_one_person(tiny_config):
    cfg = load_config(str(tiny_config))
    assert run(load_encode(cfg, persons=1))['heatmaps'].shape == (17, 24, 16)
    message = 'let MSRAHeatmap encode 3 persons: AssertionError'
    with pytest.raises(InputError, match=message):
        load_encode(cfg)


@pytest.mark.parametrize(
    'codec, message',
    [
        (None, "x: expected a config with a 'codec'"),
        ([dict(type='SPR')], "x: expected a config with a 'codec'"),
        (
            dict(type='MSRAHeatmapp', input_size=(8, 8)),
            "did you mean 'MSRAHeatmap'",
        ),
        (
            dict(type='VideoPoseLifting', num_keypoints=17),
            'an input_size, got',
        ),
        (
            dict(type='YOLOXPoseAnnotationProcessor', input_size=(64, 64)),
            'wants category_id, which',
        ),
    ],
)
def test_wrong_codec(codec, message, tiny_config):
    cfg = load_config(str(tiny_config))
    cfg.codec = codec
    with pytest.raises(InputError, match=message):
        load_encode(cfg, 'x')


@pytest.mark.parametrize(
    'config, method, num_convs',
    # LOGO-CAP's refinement is a network of its own.
    [(LOGOCAP, 'batch_decode', 5), (DEKR, 'decode', 0)],
)
def test_decode_finds_all_it_can(config, method, num_convs):
    torch.manual_seed(0)
    call = load_decode(load_bottomup(config), shape=SIZE)
    head = call.module.__self__
    convs = [forwards(m) for m in head.modules() if isinstance(m, nn.Conv2d)]
    found, original = [], getattr(head.decoder, method)

    def decode(*maps):
        found.append(original(*maps)[0].reshape(-1, 17, 2))
        return original(*maps)

    setattr(head.decoder, method, decode)
    (result,), (again,) = run(call), run(call)
    assert sum(map(len, convs)) == 2 * num_convs
    assert [len(poses) for poses in found] == [30, 30]
    assert 0 < len(result.keypoints) <= 30
    assert np.isfinite(result.keypoints).all()
    assert (result.keypoints == again.keypoints).all()


def test_decode_of_a_crop(tiny_config):
    call = load_decode(load_config(str(tiny_config)), batch=2)
    first, second = run(call)
    assert first.keypoints.shape == second.keypoints.shape == (1, 17, 2)
    assert (first.keypoints <= (64, 96)).all()


def test_decode_of_outputs_that_are_reshaped_in_place(tiny_config):
    cfg = load_config(str(tiny_config))
    cfg.model.backbone.out_indices = (3,)
    cfg.model.neck = dict(type='GlobalAveragePooling')
    cfg.model.head = dict(
        type='RegressionHead',
        in_channels=64,
        num_joints=17,
        decoder=dict(type='RegressionLabel', input_size=(64, 96)),
    )
    call = load_decode(cfg)
    for _ in range(2):
        (result,) = run(call)
        assert result.keypoints.shape == (1, 17, 2)


@pytest.mark.parametrize('config', [LOGOCAP, DEKR])
def test_predict_is_the_whole_test(config):
    torch.manual_seed(0)
    call = load_predict(load_bottomup(config), shape=SIZE)
    model = call.module.__self__
    seen = forwards(model.backbone)
    (sample,) = run(call)
    assert len(seen) == 2  # with the flip test
    poses = sample.pred_instances.keypoints
    assert 0 < len(poses) <= 30 and np.isfinite(poses).all()
    assert model.head.decoder.decode_thr == -1


def test_predict_of_crops(tiny_config):
    call = load_predict(load_config(str(tiny_config)), batch=2)
    assert call.name == str(tiny_config)
    samples = run(call)
    assert len(samples) == 2
    for sample in samples:
        assert sample.pred_instances.keypoints.shape == (1, 17, 2)
        assert sample.pred_instances.bboxes.tolist() == [[0, 0, 64, 96]]


def test_norms_have_the_statistics_of_images(tiny_config):
    call = load_predict(load_config(str(tiny_config)), batch=4)
    norm = call.module.__self__.backbone.bn1
    inputs = []
    norm.register_forward_hook(lambda module, args, _: inputs.append(*args))
    run(call)
    mean = inputs[0].mean(dim=(0, 2, 3))
    assert mean.abs().max() > 0.05
    torch.testing.assert_close(mean, norm.running_mean, rtol=0, atol=0.02)
    assert not any(m.training for m in call.module.__self__.modules())


@pytest.mark.parametrize('load', [load_decode, load_predict])
def test_wrong_model(load, tiny_config, tiny_detector):
    with pytest.raises(InputError, match='x: expected a pose estimator'):
        load(load_config(str(tiny_detector[0])), 'x')
    cfg = load_config(str(tiny_config))
    cfg.test_dataloader = None
    with pytest.raises(InputError, match='expected a test_dataloader'):
        load(cfg, shape=SIZE)


def test_head_without_a_decoder(tiny_config):
    cfg = load_config(str(tiny_config))
    del cfg.model.head.decoder
    with pytest.raises(InputError, match=r'HeatmapHead decode .*RuntimeError'):
        load_decode(cfg)


def test_head_that_does_not_use_its_forward(tiny_config):
    cfg = load_config(str(tiny_config))
    cfg.model.head = dict(
        type='VisPredictHead', pose_cfg=cfg.model.head.to_dict()
    )
    with pytest.raises(InputError, match='VisPredictHead does not use its'):
        load_decode(cfg)


def test_wrong_batch():
    with pytest.raises(InputError, match='predict a batch of 2: Assertion'):
        load_step(f'predict:{DEKR}', SIZE, batch=2)


@pytest.mark.parametrize(
    'spec, message',
    [
        ('encod:x', 'encod:x: expected a step of encode, decode, predict'),
        ('encode:no_such', "config 'no_such' does not exist"),
    ],
)
def test_wrong_step(spec, message):
    with pytest.raises(InputError, match=message):
        load_step(spec)
