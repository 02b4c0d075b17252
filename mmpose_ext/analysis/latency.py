"""Latency of two networks, measured side by side."""

import math
import platform
import statistics
import time
from pathlib import Path
from typing import Any, Callable, List, Optional

import torch
from rich.console import Console
from rich.progress import Progress

CPU_INFO = Path('/proc/cpuinfo')


def compare(
    a: Callable[[], Any],
    b: Callable[[], Any],
    rounds: int = 20,
    warmup: int = 3,
    min_seconds: float = 0.05,
    device: str = 'cpu',
    amp: Optional[torch.dtype] = None,
) -> dict:
    """Time two calls in turns: a, b, a, b, ...

    What slows the machine down for a while slows both of them, so the ratio
    is steadier than either time. In each round a call is repeated for
    ``min_seconds``; on a GPU the clock is the GPU's own.

    Args:
        a (Callable): Called without arguments and without gradients.
        b (Callable): As ``a``.
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
        dict: ``a`` and ``b``, each with ``seconds`` per call of every round,
        their ``median`` and the ``repeats`` per round; ``ratio``, the median
        of a over that of b; ``round_ratios``, the minimum, quartiles and
        maximum of the ratio within each round.
    """
    device = torch.device(device)
    calls = [a, b]
    if amp is not None:
        calls = [torch.autocast(device.type, amp)(call) for call in calls]
    with torch.inference_mode():
        repeats = [_calibrate(c, warmup, min_seconds, device) for c in calls]
        seconds: List[List[float]] = [[], []]
        # Drawn between the measurements, not during them.
        console = Console(stderr=True)
        with Progress(console=console, auto_refresh=False) as progress:
            task = progress.add_task('measuring', total=rounds)
            for _ in range(rounds):
                for call, n, times in zip(calls, repeats, seconds):
                    times.append(_time(call, n, device) / n)
                progress.update(task, advance=1, refresh=True)

    ratios = [x / y for x, y in zip(*seconds)]
    medians = [statistics.median(times) for times in seconds]
    sides = [
        dict(median=m, repeats=n, seconds=times)
        for m, n, times in zip(medians, repeats, seconds)
    ]
    return dict(
        a=sides[0],
        b=sides[1],
        ratio=medians[0] / medians[1],
        round_ratios=_spread(ratios),
    )


def describe_machine(device: str = 'cpu') -> dict:
    """What a latency depends on besides the network.

    Args:
        device (str): With ``'cuda'``, the GPU is described too.
    """
    machine = dict(
        cpu=_cpu_model(),
        threads=torch.get_num_threads(),
        system=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
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
        once = _time(call, 1, device)
    return max(1, math.ceil(min_seconds / max(once, 1e-7)))


def _time(call: Callable, repeats: int, device: torch.device) -> float:
    """Seconds that ``repeats`` calls take."""
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


def _spread(values: List[float]) -> dict:
    quantiles = torch.quantile(
        torch.tensor(values, dtype=torch.float64),
        torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=torch.float64),
    )
    return dict(zip(('min', 'q1', 'median', 'q3', 'max'), quantiles.tolist()))


def _cpu_model() -> str:
    info = CPU_INFO.read_text() if CPU_INFO.exists() else ''
    names = [x for x in info.splitlines() if x.startswith('model name')]
    return (
        names[0].partition(':')[2].strip() if names else platform.processor()
    )
