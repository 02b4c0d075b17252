"""Calls in processes of their own, to be timed in turns."""

import multiprocessing
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from typing import Any, Optional

import cv2
import torch

from ..errors import InputError


class IsolatedCall:
    """A spec that a process of its own loads and times.

    Runtimes in one process disturb each other: their threads go on spinning
    for a while after a call, and what one frees is memory that another need
    not ask the system for. This process waits while others have their turn.

    Args:
        spec (str): See :func:`~.specs.load_spec`.
        threads (int, optional): CPU threads. Defaults to ``None``, as torch
            does.
        amp (str, optional): Autocast to this type. Defaults to ``None``, no
            autocast.
        **options: Those of :func:`~.specs.load_spec`.

    Attributes:
        images (int | None): Images per call.

    Raises:
        InputError: The spec is wrong, or its process was killed.
    """

    def __init__(
        self,
        spec: str,
        threads: Optional[int] = None,
        amp: Optional[str] = None,
        **options: Any,
    ):
        context = multiprocessing.get_context('spawn')
        self.name = spec
        self._pipe, other = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(other, spec, threads, amp, options),
            daemon=True,
        )
        self._process.start()
        other.close()
        self.images = self._receive()

    def time(self, repeats: int) -> float:
        """Time some calls, after one that wakes the threads.

        Args:
            repeats (int): How many.

        Returns:
            float: Seconds that all of them take.
        """
        with suppress(ConnectionError):  # _receive will tell
            self._pipe.send(repeats)
        return self._receive()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(5)
        self._process.terminate()

    def _receive(self) -> Any:
        try:
            error, value = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise InputError(
                f'{self.name}: its process ended with exit status '
                f'{self._process.exitcode}'
            ) from None
        if error:
            raise InputError(error)
        return value


def _serve(
    pipe: Connection,
    spec: str,
    threads: Optional[int],
    amp: Optional[str],
    options: dict,
) -> None:
    """What the process does."""
    from .latency import time_calls
    from .specs import load_spec

    if threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    torch.backends.cudnn.benchmark = True
    device = torch.device(options.get('device', 'cpu'))
    try:
        call = load_spec(spec, **options)
        call.check('run')
    except InputError as e:
        pipe.send((str(e), None))
        return
    pipe.send((None, call.images))
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(not call.grad))
        if amp:
            dtype = getattr(torch, amp)
            stack.enter_context(torch.autocast(device.type, dtype))
        while True:
            try:
                repeats = pipe.recv()
            except EOFError:  # the other end is closed
                return
            call()
            pipe.send((None, time_calls(call, repeats, device)))
