"""Peak memory of networks and steps, each in a process of its own."""

import json
import resource
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Iterable, List, Optional

import torch

import mmpose_ext  # noqa: F401  (before those that it mends)

from ..errors import InputError, run_tool
from .specs import load_spec

_SELF = Path('/proc/self')
_MIB = 2**20


def measure_memory(
    specs: Iterable[str],
    calls: int = 3,
    threads: Optional[int] = None,
    amp: Optional[str] = None,
    **options: Any,
) -> List[dict]:
    """Measure the peak memory of each spec in a fresh process.

    On the CPU this is the resident memory of the process, on a GPU what
    torch has allocated there.

    Args:
        specs (Iterable[str]): See :func:`~.specs.load_spec`.
        calls (int): How often each is called. The first step of an optimizer
            makes its state, so that more is in use in the second. Defaults to
            3.
        threads (int, optional): CPU threads. Defaults to ``None``, as torch
            does.
        amp (str, optional): Autocast to this type. Defaults to ``None``, no
            autocast.
        **options: Those of :func:`~.specs.load_spec`.

    Returns:
        list[dict]: For each spec ``peak_mib``, the largest size while it is
        called, MiB, and ``over_mib``, by how much this is over the size
        before the first call, with all imported and loaded.

    Raises:
        InputError: A spec is wrong, or its process was killed.
    """
    common = dict(calls=calls, threads=threads, amp=amp, **options)
    return [_in_process(dict(spec=spec, **common)) for spec in specs]


def _in_process(task: dict) -> dict:
    done = subprocess.run(
        [sys.executable, '-m', __name__, json.dumps(task)],
        capture_output=True,
        text=True,
    )
    lines = done.stderr.strip().splitlines() or ['']
    if done.returncode == 2 and lines[-1].startswith('error: '):
        raise InputError(lines[-1].removeprefix('error: '))
    if done.returncode == -9:
        raise InputError(
            f'{task["spec"]}: its process was killed; most likely the memory '
            'of the machine is too small for it'
        )
    if done.returncode:
        raise InputError(
            f'{task["spec"]}: its process ended with exit status '
            f'{done.returncode}: {lines[-1]}'
        )
    return json.loads(done.stdout.splitlines()[-1])


def _measure(
    spec: str,
    calls: int,
    threads: Optional[int],
    amp: Optional[str],
    **options: Any,
) -> dict:
    """What the process of a spec does."""
    if threads:
        torch.set_num_threads(threads)
    call = load_spec(spec, **options)
    device = torch.device(options.get('device', 'cpu'))
    cast = torch.autocast(device.type, getattr(torch, amp or 'bfloat16'))
    before = _start(device)
    with cast if amp else nullcontext():
        for _ in range(calls):
            call.check('run')
    peak = _peak(device)
    return dict(peak_mib=peak / _MIB, over_mib=(peak - before) / _MIB)


def _start(device: torch.device) -> int:
    """Bytes in use now; forget the peak of what has been loaded."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    # Elsewhere it is forgotten as soon as the calls need more.
    with suppress(OSError):
        (_SELF / 'clear_refs').write_text('5')
    return _status('VmRSS') or _largest()


def _peak(device: torch.device) -> int:
    """Bytes that were in use at most."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    # Linux hands the getrusage of a process on to what it starts.
    return _status('VmHWM') or _largest()


def _status(key: str) -> int:
    """Bytes of an entry of Linux' /proc, 0 where there is none."""
    path = _SELF / 'status'
    lines = path.read_text().splitlines() if path.exists() else ()
    found = [line.split()[1] for line in lines if line.startswith(f'{key}:')]
    return int(found[0]) * 1024 if found else 0


def _largest() -> int:
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == 'darwin' else largest * 1024


def _main() -> None:
    print(json.dumps(_measure(**json.loads(sys.argv[1]))))


if __name__ == '__main__':
    run_tool(_main)
