"""Exported files that are whole, and others."""

import copy
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from mmpose_ext.deploy.runtimes import is_exported, open_network, require
from mmpose_ext.errors import InputError

FORMATS = ('onnx', 'openvino')


@pytest.fixture
def copies(exported, tmp_path):
    """Copies of the exported files, to be broken."""
    folder = tmp_path / 'copies'
    shutil.copytree(exported['onnx'].parent, folder)
    return dict(onnx=folder / 'tiny.onnx', openvino=folder / 'tiny.xml')


@pytest.mark.parametrize(
    'name, expected',
    [('a.onnx', True), ('b/a.XML', True), ('a.pth', False), ('a', False)],
)
def test_is_exported(name, expected):
    assert is_exported(name) == expected


@pytest.mark.parametrize('format_', FORMATS)
@pytest.mark.parametrize('batch', [1, 2, 5])
def test_any_batch_is_what_pytorch_gives(exported, model, format_, batch):
    images = torch.randn(
        batch, 3, 96, 64, generator=torch.Generator().manual_seed(batch)
    )
    with torch.inference_mode():
        expected = model.head.forward(model.extract_feat(images))
    network = open_network(exported[format_], num_threads=1)
    (found,) = network(images.numpy())
    assert expected.abs().max() > 0.01
    # Of maps that reach 3, each is 1e-5 from what float64 gives.
    torch.testing.assert_close(
        torch.from_numpy(found), expected, atol=3e-5, rtol=1e-4
    )


@pytest.mark.parametrize('format_', FORMATS)
def test_outputs_are_not_overwritten_by_the_next_call(exported, format_):
    network = open_network(exported[format_], num_threads=1)
    images = np.random.default_rng(0).random((1, 3, 96, 64), np.float32)
    (first,) = network(images)
    kept = first.copy()
    network(images + 1)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize('format_', FORMATS)
def test_unknown_device(exported, format_):
    with pytest.raises(InputError, match="device 'tpu': expected one of"):
        open_network(exported[format_], device='tpu')


def test_other_names_and_missing_files(tmp_path):
    with pytest.raises(InputError, match=r'expected a name .* \.onnx or \.x'):
        open_network('model.pth')
    for name in ('a.onnx', 'a.xml'):
        with pytest.raises(InputError, match='does not exist'):
            open_network(tmp_path / name)
        (tmp_path / name).touch()
        with pytest.raises(InputError, match='is empty'):
            open_network(tmp_path / name)


@pytest.mark.parametrize('format_', FORMATS)
@pytest.mark.parametrize('part', [0.3, 0.9])
def test_truncated_network(copies, format_, part):
    path = copies[format_]
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(InputError, match='it is broken or of another kind'):
        open_network(path)


def test_changed_weights_of_onnx(copies):
    path = copies['onnx']
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"tiny\.onnx' .*broken"):
        open_network(path)


@pytest.mark.parametrize('format_', FORMATS)
def test_other_sizes_are_named(exported, format_):
    network = open_network(exported[format_])
    assert network.shape == [None, 3, 96, 64]
    for shape in ((1, 3, 64, 64), (3, 96, 64)):
        with pytest.raises(InputError, match=r"shape \['any', 3, 96, 64\]"):
            network(np.zeros(shape, np.float32))


@pytest.mark.parametrize('format_', FORMATS)
def test_copies_share_the_network(exported, format_):
    network = open_network(exported[format_])
    assert copy.deepcopy(network) is network


@pytest.mark.parametrize('format_', FORMATS)
def test_file_of_something_else(copies, format_):
    copies[format_].write_text('<html>not found</html>')
    with pytest.raises(InputError, match='it is broken or of another kind'):
        open_network(copies[format_])


def test_weights_truncated_or_mixed_up(copies, exported):
    path = copies['openvino']
    weights = path.with_suffix('.bin')
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match='broken'):
        open_network(path)
    # Another checkpoint's weights have the same size.
    other = bytearray(content)
    other[1000] ^= 1
    weights.write_bytes(other)
    with pytest.raises(InputError, match='belongs to another file than'):
        open_network(path)


@pytest.mark.parametrize(
    'kind, message',
    [
        ('link', r"bin', to which '.*\.xml' refers, is a link: expected"),
        ('link inside', 'is a link: expected'),
        ('pipe', r"weights .*bin' is a pipe"),
        ('folder', r"weights .*bin' is a folder"),
        ('nothing', r"weights .*bin' does not exist"),
    ],
)
def test_weights_that_are_no_file_there(kind, message, copies, tmp_path):
    path = copies['openvino']
    weights = path.with_suffix('.bin')
    elsewhere = tmp_path / 'elsewhere.bin'
    if kind == 'link inside':
        elsewhere = path.with_name('b.bin')
    os.replace(weights, elsewhere)
    if kind.startswith('link'):
        weights.symlink_to(elsewhere)
    elif kind == 'pipe':
        os.mkfifo(weights)
    elif kind == 'folder':
        weights.mkdir()
    with pytest.raises(InputError, match=message):
        open_network(path)


def test_a_link_to_the_network_itself(copies, tmp_path):
    path, link = copies['openvino'], tmp_path / 'a.xml'
    link.symlink_to(path)
    with pytest.raises(InputError, match=r"'.*a\.bin' does not exist"):
        open_network(link)
    os.replace(path.with_suffix('.bin'), tmp_path / 'a.bin')
    inputs = np.ones((1, 3, 96, 64), np.float32)
    assert open_network(link)(inputs)[0].shape == (1, 17, 24, 16)


@pytest.mark.parametrize(
    'format_, limit',
    [
        ('onnx', 'onnx_file.MAX_BYTES'),
        ('openvino', 'openvino_file.MAX_XML_BYTES'),
        ('openvino', 'openvino_file.MAX_BIN_BYTES'),
    ],
)
def test_sizes_are_limited(format_, limit, exported, monkeypatch):
    path = exported[format_]
    file = path.with_suffix('.bin') if 'BIN' in limit else path
    size = file.stat().st_size
    monkeypatch.setattr(f'mmpose_ext.deploy.{limit}', size)
    open_network(path)
    monkeypatch.setattr(f'mmpose_ext.deploy.{limit}', size - 1)
    message = f"'{file}' has {size} bytes, expected at most {size - 1}"
    with pytest.raises(InputError, match=message):
        open_network(path)


@pytest.mark.parametrize('number', [0, -1, 1.5, 'many', float('nan')])
def test_numbers_of_threads(number):
    with pytest.raises(ValueError, match=f'^num_threads must be .*{number}'):
        open_network('a.onnx', num_threads=number)


def test_networks_of_others_are_named(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    shape = ['batch', 3, 8, 8]
    graph = helper.make_graph(
        [helper.make_node('Relu', ['x'], ['y'])],
        'foreign',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, shape)],
    )
    opset = helper.make_opsetid('', 20)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    path = tmp_path / 'foreign.onnx'
    onnx.save(model, str(path))
    network = open_network(path)
    assert network(np.full((1, 3, 8, 8), -1, np.float32))[0].max() == 0
    with pytest.raises(InputError, match='was not exported by this package'):
        _ = network.metadata


@pytest.mark.parametrize(
    'format_, module', [('onnx', 'onnxruntime'), ('openvino', 'openvino')]
)
def test_missing_runtime(exported, format_, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r'pip install "mmpose-ext\[deploy\]'):
        open_network(exported[format_])
    with pytest.raises(InputError, match=module):
        require(module)


def test_signals_after_networks_that_are_gone(exported):
    code = f"""
        import faulthandler, signal
        from mmpose_ext.deploy.runtimes import open_network

        faulthandler.enable()
        path = {str(exported['openvino'])!r}
        networks = [open_network(path) for _ in range(3)]
        while networks:
            networks.pop(0)
        caught = []
        signal.signal(signal.SIGUSR1, lambda *_: caught.append(1))
        signal.raise_signal(signal.SIGUSR1)
        print(len(caught))
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == '1'
