"""What .xml files of OpenVINO refer to."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from mmpose_ext.deploy import openvino_file
from mmpose_ext.deploy.formats import export_network
from mmpose_ext.deploy.openvino_file import read_texts
from mmpose_ext.deploy.runtimes import open_network
from mmpose_ext.errors import InputError


@pytest.fixture(scope='module')
def content(tmp_path_factory):
    """A small network: its ``.xml`` and its ``.bin``."""
    path = tmp_path_factory.mktemp('network') / 'a.xml'
    network = nn.Conv2d(3, 2, 1)
    export_network(network, torch.rand(2, 3, 8, 8), path, "a 'text'")
    return path.read_text(), path.with_suffix('.bin').read_bytes()


@pytest.fixture
def path(content, tmp_path):
    path = tmp_path / 'files' / 'a.xml'
    path.parent.mkdir()
    path.write_text(content[0])
    path.with_suffix('.bin').write_bytes(content[1])
    return path


def test_texts(path):
    size = path.with_suffix('.bin').stat().st_size
    texts = read_texts(path.read_bytes(), str(path), size)
    assert texts['mmpose_ext'] == "a 'text'"
    assert open_network(path)._texts == texts


def declare(text):
    """A document type before the network."""
    return lambda xml: xml.replace('<net', f'<!DOCTYPE net {text}><net', 1)


def constant(**values):
    """Other attributes of the first constant."""

    def change(xml):
        for name, value in values.items():
            xml = re.sub(rf' {name}="\d+"', f' {name}="{value}"', xml, count=1)
        return xml

    return change


def encode(name):
    """A change that declares another encoding."""
    declaration = f'<?xml version="1.0" encoding="{name}"?>'
    return lambda xml: declaration + xml.partition('?>')[2]


BOMB = ''.join(
    f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "lol"}">' for i in range(10)
)
CHANGES = {
    'bomb': (declare(f'[{BOMB}]'), 'expected no document type'),
    'file': (declare('[<!ENTITY a SYSTEM "file:///etc/passwd">]'), 'no docu'),
    'url': (declare('SYSTEM "http://localhost/a.dtd"'), 'no document type'),
    'offset': (constant(offset=10**6), 'has offset 1000000, size'),
    'size': (
        constant(size=10**6),
        r'shape \(2, 3, 1, 1\), but the weights have 48 ',
    ),
    'overflow': (constant(offset=2**64 - 8), 'offset 18446744073709551608'),
    'negative': (constant(offset=-8), 'offset -8'),
    # No argument of a function of ours.
    'self': (
        lambda xml: xml.replace(' offset="0"', ' self="a" offset="-1"', 1),
        'offset -1',
    ),
    'digits': (constant(size='9' * 5000), 'offset 0, size 999'),
    'word': (constant(size='many'), 'size many'),
    # 2^64 + 6 elements, which are 6 where they are counted in 64 bits.
    'shape': (
        lambda xml: xml.replace(
            'shape="2, 3, 1, 1"', 'shape="2, 9223372036854775811, 1, 1"'
        ),
        'and shape .2, 9223372036854775811',
    ),
    'deep': (
        lambda xml: xml.replace(
            '</net>', '<a>' * 10**5 + '</a>' * 10**5 + '</net>'
        ),
        'at most 64 elements in another',
    ),
    'plugins': (
        lambda xml: (
            '<ie><plugins><plugin name="CPU" location="evil.so"/>'
            '</plugins></ie>'
        ),
        "expected a 'net', got 'ie'",
    ),
    'unfinished': (lambda xml: xml[:-20], 'cannot be read as OpenVINO'),
    'two networks': (lambda xml: xml + xml, 'cannot be read as OpenVINO'),
    # The parser's errors for these are a LookupError and a ValueError.
    'unknown encoding': (encode('foo'), 'unknown encoding: foo'),
    'encoding of several bytes': (encode('utf-7'), 'multi-byte'),
    'entity': (lambda xml: xml.replace('images', '&a;'), 'undefined entity'),
}


@pytest.mark.parametrize('name', CHANGES)
def test_refused(name, path):
    change, message = CHANGES[name]
    xml = change(path.read_text())
    assert xml != path.read_text()
    path.write_text(xml)
    with pytest.raises(InputError, match=message) as caught:
        open_network(path)
    assert str(path) in str(caught.value)


def test_onnx_of_that_name(path):
    path.write_bytes(b'\x08\x09:\x00')
    with pytest.raises(InputError, match='cannot be read as OpenVINO'):
        open_network(path)


def test_what_was_checked_is_run(path, monkeypatch):
    """Whatever the files become between the check and the runtime."""
    inputs = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    expected = open_network(path)(inputs)[0]

    def check_and_replace(*args):
        texts = read_texts(*args)
        path.write_text('<net/>')
        path.with_suffix('.bin').write_bytes(bytes(48))
        return texts

    monkeypatch.setattr(openvino_file, 'read_texts', check_and_replace)
    np.testing.assert_array_equal(open_network(path)(inputs)[0], expected)
