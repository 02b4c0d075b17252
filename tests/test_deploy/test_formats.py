"""Networks as files."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from mmpose_ext.deploy.formats import (
    all_files,
    check_format,
    export_network,
    part_path,
    quantize,
)
from mmpose_ext.deploy.runtimes import open_network
from mmpose_ext.errors import InputError


class Network(nn.Module):
    """A convolution and its norm, and a resize to another map's size."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        from mmpose.models.utils.ops import resize

        y = self.norm(self.conv(x)).relu()
        return resize(y, size=x.shape[2:], mode='bilinear') * x[:, :1]


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return Network().eval()


@pytest.mark.parametrize('suffix', ['.onnx', '.xml'])
def test_any_size(network, suffix, tmp_path):
    path = tmp_path / 'new' / f'any{suffix}'
    export_network(
        network, torch.rand(2, 3, 64, 96), path, 'text', {0: 1, 2: 32, 3: 32}
    )
    names = {'any.onnx'} if suffix == '.onnx' else {'any.xml', 'any.bin'}
    assert {p.name for p in path.parent.iterdir()} == names
    runtime = open_network(path, num_threads=1)
    for shape in ((1, 3, 32, 32), (3, 3, 96, 160)):
        x = torch.rand(shape)
        with torch.inference_mode():
            expected = network(x)
        (found,) = runtime(x.numpy())
        torch.testing.assert_close(
            torch.from_numpy(found), expected, atol=1e-5, rtol=1e-5
        )


def test_norms_are_folded_and_no_paths_are_kept(network, tmp_path):
    path = tmp_path / 'a.onnx'
    export_network(network, torch.rand(2, 3, 32, 32), path, 'some text')
    model = onnx.load(str(path))
    kinds = [node.op_type for node in model.graph.node]
    assert 'Conv' in kinds
    assert 'BatchNormalization' not in kinds
    properties = {p.key: p.value for p in model.metadata_props}
    assert properties['mmpose_ext'] == 'some text'
    assert set(properties) == {'mmpose_ext', 'mmpose_ext_crc'}
    assert b'test_formats' not in path.read_bytes()


def test_int8(network, tmp_path):
    plain, small = tmp_path / 'a.xml', tmp_path / 'b' / 'a.xml'
    export_network(network, torch.rand(2, 3, 32, 32), plain)
    inputs = [np.random.rand(1, 3, 32, 32).astype(np.float32)] * 4
    quantize(plain, small, inputs, 'text')
    assert 'FakeQuantize' in small.read_text()
    assert 'FakeQuantize' not in plain.read_text()
    (a,), (b,) = (open_network(p)(inputs[0]) for p in (plain, small))
    assert 0 < np.abs(a - b).max() < 0.05 * np.abs(a).max()
    with pytest.raises(InputError, match='needs inputs, got none'):
        quantize(plain, small, [])


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class OfMMCV(Branching):
    __module__ = 'mmcv.ops.of'


@pytest.mark.parametrize(
    'module, message',
    [
        (Branching(), 'cannot be exported to ONNX: '),
        (OfMMCV(), 'its layers OfMMCV call operators of MMCV'),
    ],
)
def test_what_cannot_be_exported(module, message, tmp_path):
    with pytest.raises(InputError, match=message):
        export_network(module, torch.rand(2, 3, 8, 8), tmp_path / 'a.onnx')
    assert not list(tmp_path.iterdir())


def test_names_of_files():
    with pytest.raises(InputError, match=r"'a\.engine': .* \.onnx or \.xml"):
        check_format('a.engine')
    assert part_path('x/a.onnx', 'b').as_posix() == 'x/a.b.onnx'
    names = [p.name for p in all_files('a.xml', ['b'])]
    assert names == ['a.xml', 'a.b.xml', 'a.bin', 'a.b.bin']
    assert [p.name for p in all_files('a.onnx', ())] == ['a.onnx']
