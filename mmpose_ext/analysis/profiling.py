"""The hot spots of networks and steps."""

import cProfile
import os
import pstats
import sys
from dataclasses import dataclass
from typing import List

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ..errors import InputError
from .networks import Call
from .specs import step_of

_PYTHON = ('encode', 'transform', 'batch')
_OPAQUE = ('onnxruntime', 'openvino', 'openvino-int8')


@dataclass(frozen=True)
class HotSpot:
    """An operator or a function in which a call spends its time.

    Args:
        name (str): Of torch's operator, or file, line and name of the
            function.
        seconds (float): Its own time in a call, without that of what it
            calls.
        share (float): Of the time of the call, from 0 to 1.
        calls (float): How often it is called.
    """

    name: str
    seconds: float
    share: float
    calls: float


def check_profile(spec: str) -> None:
    """Check that the inside of what a user names can be seen.

    Args:
        spec (str): See :func:`~.specs.load_spec`.

    Raises:
        InputError: It runs in another runtime than torch and Python.
    """
    if step_of(spec) in _OPAQUE:
        raise InputError(
            f"{spec}: --profile sees torch's operators and Python's "
            f'functions, not those of {step_of(spec)}'
        )


def hot_spots(
    spec: str, call: Call, device: str = 'cpu', calls: int = 20, top: int = 10
) -> List[HotSpot]:
    """Find where a call spends its time.

    Encoding, transforms and data loading are Python's, and seen by its
    profiler; all others by torch's, by their time on the GPU if they run
    there. A profiler makes all slower, many short functions more than a few
    long ones: shares are for finding places, not for comparing them.

    Args:
        spec (str): What was loaded, see :func:`~.specs.load_spec`.
        call (Call): What it was loaded as.
        device (str): Where it runs. Defaults to ``'cpu'``.
        calls (int): How often it is called. Defaults to 20.
        top (int): Number of hot spots. Defaults to 10.

    Returns:
        list[HotSpot]: The hottest first, of one call on the average.

    Raises:
        InputError: See :func:`check_profile`.
    """
    check_profile(spec)
    with torch.inference_mode(not call.grad):
        call()
        if step_of(spec) in _PYTHON:
            rows = _functions(call, calls)
        else:
            rows = _operators(call, torch.device(device), calls)
    total = sum(seconds for _, seconds, _ in rows) or 1.0
    rows.sort(key=lambda row: -row[1])
    return [
        HotSpot(name, seconds / calls, seconds / total, count / calls)
        for name, seconds, count in rows[:top]
    ]


def _operators(call: Call, device: torch.device, calls: int) -> list:
    activities = [ProfilerActivity.CPU]
    own_time = 'self_cpu_time_total'
    if device.type == 'cuda':
        activities.append(ProfilerActivity.CUDA)
        own_time = 'self_device_time_total'
    with profile(activities=activities) as seen:
        for _ in range(calls):
            call()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
    # A kernel's time is also that of the operator which has launched it.
    return [
        (event.key, getattr(event, own_time) / 1e6, event.count)
        for event in seen.key_averages()
        if event.device_type == DeviceType.CPU
    ]


def _functions(call: Call, calls: int) -> list:
    profiler = cProfile.Profile()
    with profiler:
        for _ in range(calls):
            call()
    return [
        (_function_name(*key), own_time, count)
        for key, (_, count, own_time, *_) in pstats.Stats(
            profiler
        ).stats.items()
    ]


def _function_name(path: str, line: int, name: str) -> str:
    """As ``package/module.py:12 function``; built-in ones have no file."""
    if path == '~':
        return name
    roots = [
        root for root in sys.path if root and path.startswith(root + os.sep)
    ]
    root = max(roots, key=len, default=os.path.dirname(path))
    return f'{os.path.relpath(path, root)}:{line} {name}'
