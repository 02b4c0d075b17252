"""A torchvision whose compiled part does not fit torch."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torchvision import extension

from mmpose_ext.compat import environment, torchvision_ops
from mmpose_ext.compat.torchvision_ops import (
    declare_torchvision_ops,
    has_torchvision_op,
)

# The module alone, without the package that it makes importable.
DECLARE = f"""
import sys, torch, types
sys.modules['compat'] = package = types.ModuleType('compat')
package.__path__ = [{str(Path(torchvision_ops.__file__).parent)!r}]
from compat.torchvision_ops import declare_torchvision_ops
found = declare_torchvision_ops().found
"""
# What torchvision's Python part does with the operators.
FAKE_KERNELS = """
import torch
for name in ('nms', 'qnms'):
    library = torch.library.Library('torchvision', 'IMPL', 'Meta')
    library.impl(name, lambda dets, scores, iou_threshold: scores)
"""
BROKEN = b'not a shared library'


def fake_torchvision(folder, compiled=None, name='_C.so'):
    package = folder / 'torchvision'
    package.mkdir()
    (package / '__init__.py').write_text(FAKE_KERNELS)
    if isinstance(compiled, bytes):
        (package / name).write_bytes(compiled)
    elif compiled:
        (package / name).symlink_to(compiled)
    return str(folder)


@pytest.mark.parametrize(
    ('compiled', 'code', 'error'),
    [
        (
            BROKEN,
            'assert "file too short" in found\n'
            'import torchvision\n'
            'boxes, scores = torch.rand(3, 4), torch.rand(3)\n'
            'torch.ops.torchvision.nms(boxes, scores, 0.5)',
            # Called, it has no kernel, as it should be.
            "NotImplementedError: Could not run 'torchvision::nms'",
        ),
        # Any library that can be loaded stands for a fitting compiled part:
        # nothing is declared, and the fake kernels find no operator.
        (
            torch._C.__file__,
            'assert found == "works" and torch.ops.loaded_libraries\n'
            'import torchvision',
            'operator torchvision::nms does not exist',
        ),
    ],
    ids=['broken', 'fits'],
)
@pytest.mark.parametrize('name', ['_C.so', '_C_stable.so'])
def test_a_torchvision_is_imported(compiled, code, error, name, tmp_path):
    path = fake_torchvision(tmp_path, compiled, name)
    done = subprocess.run(
        [sys.executable, '-c', DECLARE + code],
        env=dict(PYTHONPATH=path, OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
    )
    assert error in done.stderr


@pytest.fixture
def library(monkeypatch):
    """Forget torchvision, and count the libraries that are made."""
    made = []

    class Library:
        def __init__(self, *args):
            self.schemas = []
            made.append(self)

        def define(self, schema):
            self.schemas.append(schema)

    monkeypatch.delitem(sys.modules, 'torchvision', raising=False)
    monkeypatch.setattr(torchvision_ops, '_torchvision_library', None)
    monkeypatch.setattr(torch.library, 'Library', Library)
    monkeypatch.setattr(torch.ops, 'torchvision', object())
    return made


@pytest.mark.parametrize('compiled', [None, BROKEN])
def test_missing_operators_are_declared(
    library, monkeypatch, tmp_path, compiled
):
    monkeypatch.syspath_prepend(fake_torchvision(tmp_path, compiled))
    repair = declare_torchvision_ops()
    assert ('not there' in repair.found) == (compiled is None)
    assert 'declared' in repair.done
    assert torchvision_ops._torchvision_library is library[0]
    names = [schema.split('(')[0] for schema in library[0].schemas]
    assert names == ['nms', 'qnms']


@pytest.mark.parametrize(
    'torch_version, warned',
    [('2.13.0', False), ('2.12.1+cu130', True), ('3.0.0', False)],
)
def test_a_torchvision_of_another_torch_is_told(
    library, monkeypatch, tmp_path, torch_version, warned
):
    monkeypatch.syspath_prepend(fake_torchvision(tmp_path, BROKEN))
    versions = dict(torch=torch_version, torchvision='0.28.1+cu130')
    monkeypatch.setattr(environment, 'version', versions.get)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        assert declare_torchvision_ops().done
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == warned
    for message in messages:
        assert 'torchvision 0.28.1+cu130 and torch 2.12.1+cu130 are' in message
        assert 'file too short' in message
        assert message.endswith(
            "Type: pip install torch==2.12.1 'torchvision==0.27.*'"
        )


def test_nothing_is_declared_after_torchvision(library, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(fake_torchvision(tmp_path, BROKEN))
    monkeypatch.setitem(sys.modules, 'torchvision', object())
    declare_torchvision_ops()
    assert library == []


def test_an_operator_is_there_where_it_has_a_kernel():
    cpu = torch.device('cpu')
    for name in ('nms', 'roi_align'):
        assert has_torchvision_op(name, cpu) == extension._has_ops()
        assert not has_torchvision_op(name, torch.device('meta'))
    assert not has_torchvision_op('nonsense', cpu)


def test_no_operator_where_torch_is_told_to_be_deterministic(monkeypatch):
    monkeypatch.setattr(
        torch, 'are_deterministic_algorithms_enabled', lambda: True
    )
    assert not has_torchvision_op('nms', torch.device('cpu'))
