"""Time, memory and hot spots of calls, alternately: a, b, c, a, b, c, ..."""

import cProfile
import gc
import multiprocessing
import pstats
import re
import statistics
import threading
from concurrent import futures
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, List, Sequence, Tuple

import cv2
import torch
from torch.profiler import profile
from torch.utils.benchmark import Timer

from mmpose_ext.errors import InputError

_here = threading.local()  # holds the call of a thread, or of a process


class NotInstalled(InputError):
    """What a benchmark compares with."""


@dataclass
class Call:
    """A function to be timed."""

    function: Callable[[], Any]
    images: int = 0  # that it works on
    grad: bool = False  # whether it needs gradients
    own_clock: bool = False  # whether it returns its seconds


def measure(
    load: Callable[..., Call],
    specs: Sequence[str],
    isolate: bool,
    rounds: int = 5,
    min_seconds: float = 0.2,
    memory: bool = False,
    profiled: bool = False,
    **options: Any,
) -> List[dict]:
    """Time the calls that ``load(spec, **options)`` makes, alternately.

    In each round a call is made once unmeasured, which wakes its threads, and
    then for ``min_seconds`` or once. With ``isolate`` each has a separate
    process: in one, runtimes disturb each other by threads that go on spinning
    and by the memory that they free.

    Returns:
        list[dict]: ``spec``, ``images`` and ``seconds`` per call of each, and
        ``peak_mib`` of its process (of torch on a GPU). Hot spots are printed.
    """
    spawn = multiprocessing.get_context('spawn')
    make = partial(futures.ThreadPoolExecutor, 1)
    if isolate:
        make = partial(futures.ProcessPoolExecutor, 1, spawn)
    with ExitStack() as stack:
        pools = [stack.enter_context(make()) for _ in specs]
        stack.callback(_kill, pools)
        loading = []
        for pool, spec in zip(pools, specs):
            loading.append(pool.submit(_load, load, spec, options))
            if not isolate:  # MMEngine's configs are not safe for threads
                loading[-1].result()
        sides = [
            dict(spec=spec, images=future.result(), seconds=[])
            for spec, future in zip(specs, loading)
        ]
        turns = list(zip(sides, pools))
        for _ in range(rounds):
            for side, pool in turns:
                seconds = pool.submit(_seconds, min_seconds).result()
                side['seconds'].append(seconds)
        for side, pool in turns:
            if memory:
                side['peak_mib'] = pool.submit(_peak).result()
            if profiled:
                pool.submit(_hot_spots, isolate).result()
    return sides


def _kill(pools: Sequence[futures.Executor]) -> None:
    """End all processes, also those that are still at work."""
    for pool in pools:
        for process in (getattr(pool, '_processes', None) or {}).values():
            process.kill()


def ratio_of(side: dict, reference: dict) -> Tuple[float, float, float]:
    """How many times as long a call takes: median, least, most of rounds."""
    ratios = [a / b for a, b in zip(side['seconds'], reference['seconds'])]
    return statistics.median(ratios), min(ratios), max(ratios)


def _load(load: Callable[..., Call], spec: str, options: dict) -> int:
    options = dict(options)
    threads = options.pop('threads', None) or torch.get_num_threads()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    _here.call = load(spec, **options)
    # Forget the peak of what has been loaded, where the system can.
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')
    return _here.call.images


def _seconds(min_seconds: float) -> float:
    call = _here.call
    with torch.inference_mode(not call.grad):
        if call.own_clock:
            return call.function()
        known = dict(call=call.function, gc=gc)
        n = torch.get_num_threads()
        # timeit disables the collection of garbage.
        timer = Timer('call()', 'gc.enable()', globals=known, num_threads=n)
        return timer.blocked_autorange(min_run_time=min_seconds).median


def _peak() -> float:
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path('/proc/self/status').read_text()
    return int(re.search(r'VmHWM:\s+(\d+)', status)[1]) / 1024


def _hot_spots(operators: bool) -> None:
    """Print torch's operators, or else Python's functions."""
    with torch.inference_mode(not _here.call.grad):
        if operators:
            with profile() as seen:
                _here.call.function()
            where = 'device' if torch.cuda.is_available() else 'cpu'
            by = f'self_{where}_time_total'
            print(seen.key_averages().table(by, row_limit=10))
        else:
            profiler = cProfile.Profile()
            profiler.runcall(_here.call.function)
            pstats.Stats(profiler).sort_stats('tottime').print_stats(10)
