"""A torchvision whose compiled part does not fit torch."""

import sys
from pathlib import Path

import pytest
import torch

from mmpose_ext.compat import torchvision_ops

PACKAGE = Path(__file__).parents[2] / 'mmpose_ext'
# compat alone, without the rest of the package that it makes importable.
COMPAT_ALONE = f"""
import sys, types
package = types.ModuleType('mmpose_ext')
package.__path__ = [{str(PACKAGE)!r}]
sys.modules['mmpose_ext'] = package
import torch
from mmpose_ext import compat
"""

# What torchvision's Python part does with the operators.
FAKE_KERNELS = """
import torch
for name in ('nms', 'qnms'):
    library = torch.library.Library('torchvision', 'IMPL', 'Meta')
    library.impl(name, lambda dets, scores, iou_threshold: scores)
"""


def fake_torchvision(folder, compiled=None):
    package = folder / 'torchvision'
    package.mkdir()
    (package / '__init__.py').write_text(FAKE_KERNELS)
    if isinstance(compiled, bytes):
        (package / '_C.so').write_bytes(compiled)
    elif compiled:
        (package / '_C.so').symlink_to(compiled)
    return str(folder)


def test_a_torchvision_that_does_not_fit_is_importable(run_python, tmp_path):
    path = fake_torchvision(tmp_path, b'not a shared library')
    before = run_python('-c', 'import torchvision', PYTHONPATH=path)
    assert 'torchvision::nms' in before.stderr
    after = run_python(
        '-c',
        COMPAT_ALONE + 'compat.apply(); compat.apply(); import torchvision\n'
        'boxes, scores = torch.rand(3, 4), torch.rand(3)\n'
        'torch.ops.torchvision.nms(boxes, scores, 0.5)',
        PYTHONPATH=path,
    )
    # Called, it says that it is not there, as it should.
    assert 'NotImplementedError' in after.stderr
    assert "Could not run 'torchvision::nms'" in after.stderr


def test_torchvision_that_loads_is_left_alone(run_python, tmp_path):
    # Any library that can be loaded stands for a fitting compiled part.
    path = fake_torchvision(tmp_path, torch._C.__file__)
    done = run_python(
        '-c',
        COMPAT_ALONE + 'compat.apply()\n'
        'assert torch.ops.loaded_libraries, "it was not tried"\n'
        'assert not hasattr(torch.ops.torchvision, "nms")',
        PYTHONPATH=path,
    )
    assert done.returncode == 0, done.stderr


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


@pytest.mark.parametrize('compiled', [None, b'not a shared library'])
def test_missing_operators_are_declared(
    library, monkeypatch, tmp_path, compiled
):
    monkeypatch.syspath_prepend(fake_torchvision(tmp_path, compiled))
    torchvision_ops.declare_torchvision_ops()
    assert torchvision_ops._torchvision_library is library[0]
    assert [schema.split('(')[0] for schema in library[0].schemas] == [
        'nms',
        'qnms',
    ]


def test_nothing_is_declared_without_torchvision(library, monkeypatch):
    monkeypatch.setattr(
        torchvision_ops.importlib.util, 'find_spec', lambda name: None
    )
    torchvision_ops.declare_torchvision_ops()
    assert library == []


def test_nothing_is_declared_after_torchvision(library, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(fake_torchvision(tmp_path, b'broken'))
    monkeypatch.setitem(sys.modules, 'torchvision', object())
    torchvision_ops.declare_torchvision_ops()
    assert library == []
