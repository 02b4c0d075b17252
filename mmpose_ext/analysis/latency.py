"""Latency of networks and steps, measured side by side."""

import math
import os
import platform
import statistics
import time
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence

import torch
from rich.console import Console
from rich.progress import Progress

from .isolation import IsolatedCall

CPU_INFO = Path('/proc/cpuinfo')

# Distributions whose version a latency may depend on.
PACKAGES = (
    *('mmpose', 'mmcv', 'opencv-python', 'numpy'),
    *('onnxruntime', 'openvino', 'albumentations'),
)


def compare(
    a: Callable[[], Any], b: Callable[[], Any], **options: Any
) -> dict:
    """Time two calls in turns: a, b, a, b, ...

    Args:
        a (Callable): See :func:`measure`.
        b (Callable): As ``a``.
        **options: Those of :func:`measure`.

    Returns:
        dict: ``a`` and ``b``, each as :func:`measure` gives it, and what
        :func:`ratio_of` says of them.
    """
    a, b = measure([a, b], **options)
    return dict(a=a, b=b, **ratio_of(a, b))


def measure(
    calls: Sequence[Callable[[], Any]],
    rounds: int = 20,
    warmup: int = 3,
    min_seconds: float = 0.05,
    device: str = 'cpu',
    amp: Optional[torch.dtype] = None,
) -> List[dict]:
    """Time calls in turns: a, b, c, a, b, c, ...

    What slows the machine down for a while slows all of them, so their ratios
    are steadier than their times. In each round a call is repeated for
    ``min_seconds``; on a GPU the clock is the GPU's own.

    Args:
        calls (Sequence[Callable]): Called without arguments and, but for a
            :class:`Call` that needs them, without gradients. An
            :class:`IsolatedCall` sees to that itself.
        rounds (int): Number of measurements of each. Defaults to 20.
        warmup (int): Calls of each that are not measured, at least one.
            Defaults to 3.
        min_seconds (float): Least duration of a measurement in seconds, to
            be well above the clock's resolution. Defaults to 0.05.
        device (str): Where the calls run: with ``'cuda'`` the GPU is waited
            for. Defaults to ``'cpu'``.
        amp (torch.dtype, optional): Autocast to this type. Defaults to
            ``None``, no autocast.

    Returns:
        list[dict]: For each call the ``seconds`` per call of every round,
        their ``median`` and the ``repeats`` per round.
    """
    device = torch.device(device)
    timed = list(calls)
    if amp is not None:
        timed = [torch.autocast(device.type, amp)(call) for call in calls]
    modes = [
        partial(torch.inference_mode, not getattr(call, 'grad', False))
        for call in calls
    ]
    repeats = []
    for call, mode in zip(timed, modes):
        with mode():
            repeats.append(_calibrate(call, warmup, min_seconds, device))
    seconds: List[List[float]] = [[] for _ in timed]
    # Drawn between the measurements, not during them.
    console = Console(stderr=True)
    with Progress(console=console, auto_refresh=False) as progress:
        task = progress.add_task('measuring', total=rounds)
        for _ in range(rounds):
            for call, mode, n, times in zip(timed, modes, repeats, seconds):
                with mode():
                    times.append(time_calls(call, n, device) / n)
            progress.update(task, advance=1, refresh=True)
    return [
        dict(median=statistics.median(times), repeats=n, seconds=times)
        for n, times in zip(repeats, seconds)
    ]


def ratio_of(side: dict, reference: dict) -> dict:
    """How much longer a call takes than another of the same run.

    Args:
        side (dict): What :func:`measure` gives.
        reference (dict): As ``side``.

    Returns:
        dict: ``ratio``, that of the medians; ``round_ratios``, the
        :func:`spread` of the ratio within each round.
    """
    pairs = zip(side['seconds'], reference['seconds'])
    return dict(
        ratio=side['median'] / reference['median'],
        round_ratios=spread([x / y for x, y in pairs]),
    )


def spread(values: Sequence[float]) -> dict:
    """The ``min``, quartiles ``q1`` and ``q3``, ``median`` and ``max``.

    Args:
        values (Sequence[float]): At least one.

    Returns:
        dict: With these five keys.
    """
    quantiles = torch.quantile(
        torch.tensor(values, dtype=torch.float64),
        torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=torch.float64),
    )
    return dict(zip(('min', 'q1', 'median', 'q3', 'max'), quantiles.tolist()))


def describe_machine(device: str = 'cpu') -> dict:
    """What a latency depends on besides the network.

    Args:
        device (str): With ``'cuda'``, the GPU is described too.

    Returns:
        dict: ``cpu``, its ``cores`` that this process may use, and the
        ``threads`` that torch uses; ``memory_gib``, GiB; the ``system``; the
        versions of ``python``, ``torch`` and, of other packages, those that
        are installed.
    """
    machine = dict(
        cpu=_cpu_model(),
        cores=_usable_cores(),
        threads=torch.get_num_threads(),
        memory_gib=round(_memory() / 2**30, 1),
        system=f'{platform.system()} {platform.machine()}',
        python=platform.python_version(),
        torch=torch.__version__,
        **_versions(),
    )
    if torch.device(device).type == 'cuda':
        machine.update(
            gpu=torch.cuda.get_device_name(device),
            cuda=torch.version.cuda,
            cudnn=torch.backends.cudnn.version(),
        )
    return machine


def _calibrate(
    call: Callable, warmup: int, min_seconds: float, device: torch.device
) -> int:
    """Warm up; return how many calls a measurement needs."""
    for _ in range(max(warmup, 1)):
        once = time_calls(call, 1, device)
    return max(1, math.ceil(min_seconds / max(once, 1e-7)))


def time_calls(
    call: Callable[[], Any], repeats: int, device: torch.device
) -> float:
    """Time some calls, on a GPU by its own clock.

    Args:
        call (Callable): What is called, or an :class:`IsolatedCall`.
        repeats (int): How often.
        device (torch.device): Where it runs.

    Returns:
        float: Seconds that all of them take.
    """
    if isinstance(call, IsolatedCall):
        return call.time(repeats)
    if device.type != 'cuda':
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return time.perf_counter() - start

    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.cuda.device(device):
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
    return begin.elapsed_time(end) / 1000


def _cpu_model() -> str:
    info = CPU_INFO.read_text() if CPU_INFO.exists() else ''
    names = [x for x in info.splitlines() if x.startswith('model name')]
    return (
        names[0].partition(':')[2].strip() if names else platform.processor()
    )


def _usable_cores() -> int:
    """A container may have fewer than the machine."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int:
    """Bytes of the machine."""
    return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')


def _versions() -> dict:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
