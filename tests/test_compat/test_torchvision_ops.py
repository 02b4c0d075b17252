"""A torchvision whose compiled part does not fit torch."""

import subprocess
import sys

import pytest
import torch

from mmpose_ext.compat import torchvision_ops
from mmpose_ext.compat.torchvision_ops import declare_torchvision_ops

# The module alone, without the package that it makes importable.
DECLARE = f"""
import runpy, torch
declare = runpy.run_path({torchvision_ops.__file__!r})
declare['declare_torchvision_ops']()
"""
# What torchvision's Python part does with the operators.
FAKE_KERNELS = """
import torch
for name in ('nms', 'qnms'):
    library = torch.library.Library('torchvision', 'IMPL', 'Meta')
    library.impl(name, lambda dets, scores, iou_threshold: scores)
"""
BROKEN = b'not a shared library'


def fake_torchvision(folder, compiled=None):
    package = folder / 'torchvision'
    package.mkdir()
    (package / '__init__.py').write_text(FAKE_KERNELS)
    if isinstance(compiled, bytes):
        (package / '_C.so').write_bytes(compiled)
    elif compiled:
        (package / '_C.so').symlink_to(compiled)
    return str(folder)


@pytest.mark.parametrize(
    ('compiled', 'code', 'error'),
    [
        (
            BROKEN,
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
            'assert torch.ops.loaded_libraries, "it was not tried"\n'
            'import torchvision',
            'operator torchvision::nms does not exist',
        ),
    ],
    ids=['broken', 'fits'],
)
def test_a_torchvision_is_imported(compiled, code, error, tmp_path):
    path = fake_torchvision(tmp_path, compiled)
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
    declare_torchvision_ops()
    assert torchvision_ops._torchvision_library is library[0]
    names = [schema.split('(')[0] for schema in library[0].schemas]
    assert names == ['nms', 'qnms']


def test_nothing_is_declared_without_or_after_torchvision(
    library, monkeypatch, tmp_path
):
    with monkeypatch.context() as patch:
        patch.setattr('importlib.util.find_spec', lambda name: None)
        declare_torchvision_ops()
    monkeypatch.syspath_prepend(fake_torchvision(tmp_path, BROKEN))
    monkeypatch.setitem(sys.modules, 'torchvision', object())
    declare_torchvision_ops()
    assert library == []
