"""Calls in processes of their own."""

import os
import signal

import pytest
import torch

from mmpose_ext.analysis.isolation import IsolatedCall
from mmpose_ext.analysis.latency import measure, ratio_of
from mmpose_ext.errors import InputError

SMALL = "dict(type='GPRNeck', in_channels=[4, 8])"
LARGE = "dict(type='GPRNeck', in_channels=[64, 128])"


@pytest.fixture
def calls():
    made = [
        IsolatedCall(spec, threads=1, maps=maps)
        for spec, maps in (
            (LARGE, [(64, 64, 64), (128, 32, 32)]),
            (SMALL, [(4, 4, 4), (8, 2, 2)]),
        )
    ]
    yield made
    for call in made:
        call.close()


def test_turns(calls):
    large, small = measure(calls, rounds=3, warmup=1, min_seconds=0.01)
    assert len(large['seconds']) == len(small['seconds']) == 3
    assert min(large['seconds'] + small['seconds']) > 0
    assert ratio_of(large, small)['ratio'] > 0


def test_processes_end(calls):
    calls[0].close()
    assert not calls[0]._process.is_alive()


def test_a_killed_process_is_named(calls):
    os.kill(calls[1]._process.pid, signal.SIGKILL)
    with pytest.raises(InputError, match=r'GPRNeck.* exit status -9'):
        calls[1].time(1)


def test_errors_are_those_of_the_spec():
    with pytest.raises(InputError, match='no_such'):
        IsolatedCall('no_such_config.py')
    with pytest.raises(InputError, match='its maps are needed'):
        IsolatedCall(SMALL)


def test_threads_are_its_own(calls):
    before = torch.get_num_threads()
    calls[0].time(1)
    assert torch.get_num_threads() == before
