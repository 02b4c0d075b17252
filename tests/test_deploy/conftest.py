"""What the tests of exported models share."""

import ast
import re
import shutil
from xml.sax.saxutils import quoteattr

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from mmpose_ext.deploy.export import _metadata, quantize_model, record
from mmpose_ext.deploy.formats import export_network
from mmpose_ext.deploy.metadata import KEY
from mmpose_ext.deploy.network import PoseNetwork
from mmpose_ext.deploy.runtimes import SEAL
from mmpose_ext.deploy.samples import draw_samples

onnx = pytest.importorskip('onnx')
for package in ('onnxscript', 'onnxruntime', 'openvino', 'nncf'):
    pytest.importorskip(package)


@pytest.fixture(scope='session')
def samples():
    return draw_samples(3, with_boxes=True)


@pytest.fixture(scope='session')
def model(exported):
    """The model of the exported files, not to be changed."""
    return exported['model']


@pytest.fixture(scope='session')
def int8(exported, samples, tmp_path_factory):
    """The 8-bit form of the exported model."""
    file = tmp_path_factory.mktemp('int8') / 'tiny.xml'
    model = exported['model']
    with DefaultScope.overwrite_default_scope('mmpose'):
        recording = record(model, samples)
        quantize_model(model, exported['openvino'], file, recording, 8)
    return file


@pytest.fixture(scope='session')
def harmless(model, samples, tmp_path_factory):
    """The smallest network with a true description, in both formats."""
    folder = tmp_path_factory.mktemp('harmless')
    with DefaultScope.overwrite_default_scope('mmpose'):
        recording = record(model, samples[:1])
        text = _metadata(model, PoseNetwork(model), recording)
    for suffix in ('.onnx', '.xml'):
        images = torch.rand(2, 3, 96, 64)
        network = nn.Conv2d(3, 17, 4, stride=4)
        export_network(network, images, folder / f'a{suffix}', text)
    return folder, text


@pytest.fixture
def described(harmless):
    """The description of ``harmless``."""
    return ast.literal_eval(harmless[1])


@pytest.fixture
def write_file(harmless, tmp_path):
    """Write the harmless network with another description; its path."""

    def write(description, suffix='.onnx', name='a'):
        path = tmp_path / 'files' / f'{name}{suffix}'
        path.parent.mkdir(exist_ok=True)
        text = description
        if not isinstance(text, str):
            text = repr(description)
        source = harmless[0] / f'a{suffix}'
        if suffix == '.onnx':
            network = onnx.load(str(source))
            for entry in network.metadata_props:
                if entry.key == KEY:
                    entry.value = text
                elif entry.key == SEAL:
                    entry.key = 'other'
            onnx.save(network, str(path))
            return path
        content = source.read_text()
        pattern = re.compile(rf'<{KEY} value=(".*?"|\'.*?\') />', re.DOTALL)
        *_, last = pattern.finditer(content)
        entry = f'<{KEY} value={quoteattr(text)} />'
        path.write_text(
            content[: last.start()] + entry + content[last.end() :]
        )
        shutil.copy(source.with_suffix('.bin'), path.with_suffix('.bin'))
        return path

    return write
