"""Modules of ours in the place of those that are missing or broken."""

import importlib
import pickle
import subprocess
import sys
import types

import pytest

from mmpose_ext.compat import environment, stand_ins
from mmpose_ext.compat.stand_ins import provide_operators, stand_in


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder of modules, which are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder, **modules):
    """Modules of one line, of which each is a package."""
    for name, text in modules.items():
        path = folder / name.replace('_', '/')
        path.mkdir(parents=True)
        (path / '__init__.py').write_text(text + '\n')


def import_real():
    return importlib.import_module('real.part')


MODULES = {'real': 'ours', 'real.part': 'ours.part'}


def test_what_works_is_left(folder):
    write(folder, real='', real_part='x = 1', ours='', ours_part='x = 2')
    real = import_real()
    assert stand_in('real', MODULES, import_real) == ''
    assert sys.modules['real.part'] is real
    assert 'ours' not in sys.modules


@pytest.mark.parametrize(
    'real, reason',
    [
        ({}, "ModuleNotFoundError: No module named 'real'"),
        (dict(real='x = 1/0'), 'ZeroDivisionError: division by zero'),
        (
            dict(real='from . import deep', real_deep='', real_part='a.b'),
            "NameError: name 'a' is not defined",
        ),
    ],
    ids=['missing', 'broken', 'broken in part'],
)
def test_what_does_not_work_is_replaced(folder, real, reason):
    write(folder, **real, ours='', ours_part='class A: pass')
    for expected in (reason, 'it was replaced before'):
        assert stand_in('real', MODULES, import_real) == expected
        part = importlib.import_module('real.part')
        assert part is importlib.import_module('ours.part')
        assert sys.modules['real'].part is part
        # Nothing is left of the real one.
        assert 'real.deep' not in sys.modules
    assert importlib.reload(part) is part
    # Another process needs no stand-in to load what is pickled.
    assert b'ours.part' in pickle.dumps(part.A())
    assert b'real' not in pickle.dumps(part.A())


def test_a_module_of_a_package_is_replaced_in_it(folder):
    write(folder, real='whole = True', ours='')
    stand_in('real.part', {'real.part': 'ours'}, import_real)
    real = importlib.import_module('real')
    assert real.whole and real.part is sys.modules['ours']


def test_nothing_is_replaced_without_ours(folder):
    write(folder, real='', ours='import nowhere')
    with pytest.raises(ImportError, match='nowhere'):
        stand_in('real', MODULES, import_real)
    assert 'real' in sys.modules and 'real.part' not in sys.modules
    with pytest.raises(ImportError, match='absent'):
        stand_in('absent.part', {'absent.part': 'math'}, lambda: 1 / 0)
    assert 'absent.part' not in sys.modules
    # The next try begins anew.
    (folder / 'ours/__init__.py').write_text('')
    write(folder, ours_part='')
    importlib.invalidate_caches()
    assert 'real.part' in stand_in('real', MODULES, import_real)


@pytest.mark.parametrize(
    'installed, message',
    [
        ({'mmcv-lite': '2.1.0'}, None),
        ({'mmcv': '2.1.0', 'mmcv-lite': '2.1.0'}, None),
        ({'mmcv': '2.1.0'}, 'mmcv 2.1.0 has no compiled operators that work'),
        ({}, 'mmcv has no compiled operators'),  # a folder on the path
    ],
)
def test_an_mmcv_without_operators_is_told_unless_it_is_lite(
    installed, message, monkeypatch, recwarn
):
    monkeypatch.setattr(stand_ins, 'stand_in', lambda *args: 'OSError: no')
    monkeypatch.setattr(
        environment,
        'installed',
        lambda *names: {n: v for n, v in installed.items() if n in names},
    )
    repair = provide_operators()
    assert repair.found == 'OSError: no' and 'others raise' in repair.done
    messages = [str(w.message) for w in recwarn if 'mmcv' in str(w.message)]
    assert len(messages) == (message is not None)
    for told in messages:
        assert told.startswith(message) and '(OSError: no)' in told
        assert "pip install 'mmcv-lite" in told
        assert 'MMCV_WITH_OPS=1 pip install --no-build-isolation' in told


def test_a_compiled_part_that_lacks_operators_does_not_work(monkeypatch):
    left_behind = types.ModuleType('mmcv._ext')
    left_behind.active_rotated_filter_forward = len
    monkeypatch.setitem(sys.modules, 'mmcv._ext', left_behind)
    with pytest.raises(AttributeError, match='nms'):
        stand_ins._try_operators()
    left_behind.nms = len
    stand_ins._try_operators()


def test_reports_of_an_environment_know_no_compiler():
    operators = importlib.import_module('mmpose_ext.compat.operators')
    assert operators.get_compiler_version() == 'n/a'
    assert operators.get_compiling_cuda_version() == 'n/a'


OPERATORS = """
import sys, torch
from unittest.mock import MagicMock
sys.modules['mmcv._ext'] = real = MagicMock()
import mmpose_ext
import mmcv.ops
assert sys.modules['mmcv._ext'] is real
assert mmpose_ext.compat.report.repairs[2].done == ''
"""


def test_operators_that_work_are_never_replaced():
    subprocess.run([sys.executable, '-c', OPERATORS], check=True)


def test_an_operator_that_is_not_there_says_what_to_type():
    operators = importlib.import_module('mmpose_ext.compat.operators')
    for name in ('carafe', 'carafe_forward', 'carafe_backward'):
        carafe = getattr(operators, name)
        with pytest.raises(RuntimeError) as error:
            carafe(1, size=2)
        assert str(error.value).startswith(
            'mmcv.ops.carafe needs a compiled mmcv (with a compiler, type: '
        )
        assert str(error.value).endswith(f'{environment.compiled_mmcv()})')
    assert not hasattr(operators, '__wrapped__')
