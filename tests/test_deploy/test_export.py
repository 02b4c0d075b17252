"""Every family, exported and compared with PyTorch."""

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from small_models import build_model, thin

from mmpose_ext.deploy import formats
from mmpose_ext.deploy.export import (
    Recording,
    _singles,
    check_agreement,
    compare,
    export_model,
    quantize_model,
    record,
)
from mmpose_ext.deploy.formats import part_path
from mmpose_ext.deploy.network import kind_of
from mmpose_ext.deploy.pose_model import PoseModel
from mmpose_ext.deploy.samples import draw_samples
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError

SUFFIXES = ('.onnx', '.xml')
CONFIGS = Path(__file__).parents[2] / 'configs'
GCCPM = 'gccpm/gccpm-2stage_ushape_mobilenet-v1-w0.5_1xb8-12e_toy-lip-128x128'
FAMILIES = {
    'ram_gpr': 'ram_gpr/ram-gpr_hrnet-w16_1xb8-15e_toy-persons-128x96',
    'psm': 'psm/psm_hrnet-w8_1xb8-10e_toy-persons-128x96',
    'gccpm-3': GCCPM,
    'logocap': 'logocap/logocap_hrnet-w16_1xb4-20e_toy-persons-192x192',
}


@pytest.fixture(scope='module')
def family(request, tmp_path_factory):
    """A small model of a family, images, what it makes of them, and files.

    Both files come from one trace of each network.
    """
    config = load_config(str(CONFIGS / f'{FAMILIES[request.param]}.py'))
    method, _, stages = request.param.partition('-')
    if stages:
        config.model.head.num_stages = int(stages)
    thin(config.model)
    folder = tmp_path_factory.mktemp(method)
    programs = {}

    def trace_once(network, images, multiples):
        key = type(network)
        if key not in programs:
            programs[key] = trace(network, images, multiples)
        return programs[key]

    trace = formats._to_onnx
    with (
        pytest.MonkeyPatch.context() as patch,
        DefaultScope.overwrite_default_scope('mmpose'),
    ):
        patch.setattr(formats, '_to_onnx', trace_once)
        model = build_model(config, folder / 'random.pth')
        samples = draw_samples(2, with_boxes=kind_of(model) == 'topdown')
        recording = record(model, samples)
        files = {suffix: folder / f'a{suffix}' for suffix in SUFFIXES}
        for path in files.values():
            export_model(model, path, recording)
    return model, samples, recording, files


@pytest.mark.slow
@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('family', FAMILIES, indirect=True)
def test_family_agrees_with_pytorch(family, suffix):
    model, samples, recording, files = family
    with torch.inference_mode():
        maps = model.head.forward(model.extract_feat(recording.images[0]))
    highest = maps if torch.is_tensor(maps) else maps[-1]
    assert highest.abs().max() > 1e-3  # something to compare
    assert all(len(poses) for poses in recording.poses)
    difference, distance = compare(model, files[suffix], samples, recording)
    assert difference < 1e-4
    assert distance < 0.1
    check_agreement(difference, distance)
    if suffix == '.onnx':
        assert b'BatchNormalization' not in files[suffix].read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('family', ['logocap'], indirect=True)
def test_threads_share_a_model_with_parts(family, suffix):
    _, samples, _, files = family
    shared = PoseModel(files[suffix], num_threads=1)
    images = [image for image, _ in samples]
    # Another size than any before.
    images.append(np.ascontiguousarray(images[0][:160]))
    expected = [shared(image) for image in images]
    assert expected[2].keypoints.shape[1:] == (17, 2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(shared, images * 6))
    for i, poses in enumerate(found):
        same = expected[i % len(images)]
        np.testing.assert_array_equal(poses.keypoints, same.keypoints)
        np.testing.assert_array_equal(
            poses.keypoint_scores, same.keypoint_scores
        )


@pytest.mark.slow
@pytest.mark.parametrize('family', ['logocap'], indirect=True)
def test_parts_remain_in_single_precision(family, tmp_path):
    model, samples, recording, files = family
    path, out = files['.xml'], tmp_path / 'int8' / 'b.xml'
    quantize_model(model, path, out, recording, 2)
    parts = [part_path(file, 'refinement') for file in (path, out)]
    for suffix in ('.xml', '.bin'):
        first, second = (p.with_suffix(suffix).read_bytes() for p in parts)
        assert first == second
    size = path.with_suffix('.bin').stat().st_size
    assert out.with_suffix('.bin').stat().st_size < 0.5 * size
    assert PoseModel(out)(samples[0][0]).keypoints.shape[1:] == (17, 2)


def test_another_networks_file_is_noticed(model, exported, samples):
    recording = record(model, samples)
    weight = model.head.final_layer.weight
    with torch.no_grad():
        weight[0] *= 2
    try:
        difference, _ = compare(model, exported['onnx'], samples, recording)
    finally:
        with torch.no_grad():
            weight[0] /= 2
    with pytest.raises(
        InputError, match=r'differs from PyTorch by .* 0\.0001'
    ):
        check_agreement(difference, 0)


def test_heads_that_need_more_than_their_forward(
    model, exported, samples, monkeypatch
):
    recording = Recording([], {}, [])
    assert compare(model, exported['onnx'], [], recording) == (0, 0)
    recording.poses.append(None)
    monkeypatch.setattr(
        'mmpose_ext.deploy.export.PoseModel',
        lambda _: lambda *args: raise_(RuntimeError('no such channel')),
    )
    with pytest.raises(InputError, match='HeatmapHead cannot be exported'):
        compare(model, exported['onnx'], samples[:1], recording)


@pytest.fixture(scope='module')
def simcc(tiny_config, tmp_path_factory):
    """A small model with SimCC's head."""
    config = load_config(str(tiny_config))
    codec = dict(type='SimCCLabel', input_size=(64, 96), sigma=6.0)
    config.model.head = dict(
        type='SimCCHead',
        in_channels=64,
        out_channels=17,
        input_size=(64, 96),
        in_featuremap_size=(2, 3),
        deconv_out_channels=None,
        loss=dict(type='KLDiscretLoss', use_target_weight=True),
        decoder=codec,
    )
    return build_model(config, tmp_path_factory.mktemp('simcc') / 'a.pth')


def test_simcc(simcc, samples, tmp_path):
    recording = record(simcc, samples[:1])
    export_model(simcc, tmp_path / 'a.onnx', recording)
    check_agreement(
        *compare(simcc, tmp_path / 'a.onnx', samples[:1], recording)
    )


@pytest.mark.parametrize('name', ['simcc', 'model'])
@pytest.mark.parametrize('change', [0, 0.01])
def test_maxima_that_tie(
    name, change, request, exported, samples, monkeypatch
):
    """A keypoint 30 px away, of a score that is the same or is not."""
    model = request.getfixturevalue(name)
    pose = InstanceData(
        keypoints=np.full((1, 17, 2), 9.0),
        keypoint_scores=np.full((1, 17), 4.0),
    )
    found = copy.deepcopy(pose)
    found.keypoints[0, 3, 0] += 30
    found.keypoint_scores[0, 3] -= change
    monkeypatch.setattr(
        'mmpose_ext.deploy.export.PoseModel', lambda _: lambda *args: found
    )
    difference, distance = compare(
        model, exported['onnx'], samples[:1], Recording([], {}, [pose])
    )
    # As a part of the highest score, 4.
    assert difference == pytest.approx(change / 4)
    assert distance == (0 if name == 'simcc' and change == 0 else 30)


def raise_(error):
    raise error


def test_agreement():
    check_agreement(1e-4, 0.1)
    with pytest.raises(InputError, match=r'differs from PyTorch by 0\.00011'):
        check_agreement(1.1e-4, 0)
    with pytest.raises(InputError, match='differs from PyTorch by inf'):
        check_agreement(np.inf, 0)
    with pytest.raises(InputError, match=r'up to inf px .* at most 0\.1'):
        check_agreement(0, np.inf)


def test_recording_ends_when_there_is_enough(model, samples):
    persons = len(samples[0][1])
    recording = record(model, iter(samples), max_inputs=1)
    # The image and its mirror image.
    assert sum(map(len, recording.images)) == 2 * persons
    assert len(recording.poses) == 1
    with pytest.raises(InputError, match='got none'):
        record(model, [])


def test_calibration_inputs_are_spread():
    batches = [torch.arange(4.0)[:, None], torch.arange(4.0, 9)[:, None]]
    assert [x.item() for x in _singles(batches, 3)] == [0, 4, 8]
    assert len(_singles(batches, 100)) == 9


def test_int8_is_smaller_and_near(exported, int8, model, samples):
    sizes = [
        path.with_suffix('.bin').stat().st_size
        for path in (int8, exported['openvino'])
    ]
    assert sizes[0] < 0.5 * sizes[1]
    difference, _ = compare(model, int8, samples, record(model, samples))
    assert 1e-4 < difference < 0.3
