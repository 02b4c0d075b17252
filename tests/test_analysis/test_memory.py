import subprocess
from types import SimpleNamespace

import pytest

from mmpose_ext.analysis import memory
from mmpose_ext.analysis.memory import measure_memory
from mmpose_ext.errors import InputError

NORM = "dict(type='BN', num_features=16)"


def test_a_call_needs_room_for_its_result():
    """16 maps of 1024 x 1024 floats are 64 MiB, and the input is there."""
    options = dict(calls=2, threads=None, amp=None)
    result = memory._measure(NORM, maps=[(16, 1024, 1024)], **options)
    # A page or so that was in use before may not be any more.
    assert 60 <= result['over_mib'] < 128
    # Python, torch, and two such tensors.
    assert result['peak_mib'] > 128 + 100


def test_what_was_freed_before_is_not_counted(monkeypatch):
    if not memory._status('VmHWM'):
        pytest.skip('needs /proc')
    before = bytearray(b'x' * 2**28)  # 256 MiB
    del before
    options = dict(calls=1, threads=None, amp=None)
    over = memory._measure(NORM, maps=[(16, 512, 512)], **options)['over_mib']
    assert over < 128


def test_without_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, '_SELF', tmp_path)
    options = dict(calls=1, threads=None, amp='bfloat16')
    result = memory._measure(NORM, maps=[(16, 8, 8)], **options)
    assert result['peak_mib'] > 100 and result['over_mib'] >= 0


@pytest.mark.parametrize(
    ('status', 'stderr', 'message'),
    [
        (2, 'warning\nerror: x: no such config\n', '^x: no such config$'),
        (2, 'usage', 'a: its process ended with exit status 2: usage'),
        (1, 'Traceback\nTypeError: y\n', 'exit status 1: TypeError: y'),
        (-9, '', 'a: its process was killed; most likely the memory'),
    ],
)
def test_process_that_fails(status, stderr, message, monkeypatch):
    done = SimpleNamespace(returncode=status, stderr=stderr, stdout='')
    monkeypatch.setattr(subprocess, 'run', lambda *_, **__: done)
    with pytest.raises(InputError, match=message):
        measure_memory(['a'])


def test_call_that_fails_is_explained():
    options = dict(calls=1, threads=None, amp=None, maps=[(3, 8, 8)])
    with pytest.raises(InputError, match=r'BN.*: cannot run: RuntimeError'):
        memory._measure(NORM, **options)
