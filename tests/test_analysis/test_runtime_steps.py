import pytest
import torch

from mmpose_ext.analysis import load_network
from mmpose_ext.analysis.pose_steps import load_step
from mmpose_ext.analysis.runtime_steps import load_runtime
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError

GCCPM = 'gccpm-2stage_ushape_mobilenet-v1-w0.5_1xb8-12e_toy-lip-128x128'


@pytest.fixture
def expected(tiny_config):
    """What the network gives, with the same random weights and images."""
    torch.manual_seed(0)
    call = load_network(load_config(str(tiny_config)), batch=2)
    with torch.inference_mode():
        return call()


def run(spec, **options):
    torch.manual_seed(0)
    call = load_step(spec, **options)
    assert call.name == spec
    with torch.inference_mode():
        return call, call()


def test_eager_is_the_network(tiny_config, expected):
    call, (maps,) = run(f'eager:{tiny_config}', batch=2)
    torch.testing.assert_close(maps, expected)
    assert call.images == 2 and not call.grad


def test_channels_last(tiny_config, expected):
    call, (maps,) = run(f'channels-last:{tiny_config}', batch=2)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)
    last = torch.channels_last
    assert call.args[0].is_contiguous(memory_format=last)
    weights = [p for p in call.module.parameters() if p.ndim == 4]
    assert all(w.is_contiguous(memory_format=last) for w in weights)


def test_compiled(tiny_config, expected, monkeypatch):
    compiled = []
    compile_ = torch.compile

    def trace_only(network):  # The compiler itself takes a minute.
        compiled.append(network)
        return compile_(network, backend='eager')

    monkeypatch.setattr(torch, 'compile', trace_only)
    _, (maps,) = run(f'compiled:{tiny_config}', batch=2)
    torch.testing.assert_close(maps, expected)
    assert len(compiled) == 1


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_exported(runtime, tiny_config, expected):
    pytest.importorskip('onnxscript')
    pytest.importorskip(runtime)
    call, (maps,) = run(f'{runtime}:{tiny_config}', batch=2)
    torch.testing.assert_close(
        torch.from_numpy(maps), expected, rtol=1e-3, atol=1e-4
    )
    assert call.images == 2


@pytest.mark.slow
def test_eight_bits(tiny_config, expected):
    pytest.importorskip('nncf')
    pytest.importorskip('openvino')
    _, (maps,) = run(f'openvino-int8:{tiny_config}', batch=2)
    error = (torch.from_numpy(maps) - expected).abs().max()
    assert 0 < error < 0.2 * expected.abs().max()


def test_the_last_of_several_stages():
    call, maps = run(f'eager:{GCCPM}', shape=(64, 64))
    with torch.inference_mode():
        stages = call.module.model(*call.args, None, mode='tensor')
    assert len(stages) == 2 and len(maps) == 1
    torch.testing.assert_close(maps[0], stages[-1])


def test_exported_files_run_on_the_cpu(tiny_config):
    cfg = load_config(str(tiny_config))
    message = 'x: exported files are timed on the CPU, got meta'
    with pytest.raises(InputError, match=message):
        load_runtime('openvino', cfg, 'x', device='meta')


def test_wrong_runtime_and_model(tiny_config, tiny_detector):
    cfg = load_config(str(tiny_config))
    with pytest.raises(InputError, match='openvino-int8, got tensorrt'):
        load_runtime('tensorrt', cfg, 'x')
    cfg = load_config(str(tiny_detector[0]))
    with pytest.raises(InputError, match='got one of a RTMDet'):
        load_runtime('eager', cfg, 'x')
