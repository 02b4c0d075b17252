"""Steps on many images, which skip those that fail."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple, TypeVar, Union

import cv2
import torch

from ..errors import InputError

T = TypeVar('T')
R = TypeVar('R')

# What an image can cause. Anything else is a defect of the program.
_ERRORS = (
    InputError,
    cv2.error,
    MemoryError,
    torch.cuda.OutOfMemoryError,
)
_MOST_NAMES = 10


@contextmanager
def blamed_on(name: Union[str, Path]) -> Iterator[None]:
    """Turn what an image can cause into an error that names it.

    Raises:
        InputError: Instead of an ``InputError`` whose message lacks the
            name, one of OpenCV's errors, or a lack of memory.
    """
    try:
        yield
    except Exception as e:
        if not _can_be_of_image(e):
            raise
        reason = ' '.join(str(e).split())
        if not isinstance(e, InputError):
            reason = f'{type(e).__name__}: {reason}'
        if str(name) not in reason:
            reason = f"image '{name}': {reason}"
        raise InputError(reason) from e


def _can_be_of_image(error: Exception) -> bool:
    # On a CPU, torch has no class for this.
    return isinstance(error, _ERRORS) or (
        isinstance(error, RuntimeError)
        and "can't allocate memory" in str(error)
    )


class ImageRun:
    """Steps on many images, which skip those that fail.

    One that fails is named on stderr, with the reason, and is left out of
    later steps. Where the user named a single image, its failure ends the
    run.

    Args:
        source (str): The image, folder or glob that the user named.
        number (int): How many images there are.

    Attributes:
        skipped (List[Path]): The images that failed.
    """

    def __init__(self, source: str, number: int):
        self.number = number
        self.skipped: List[Path] = []
        self._alone = os.path.isfile(source)

    @property
    def done(self) -> int:
        """How many images did not fail."""
        return self.number - len(self.skipped)

    def each(
        self, work: Callable[[T], R], items: Dict[Path, T]
    ) -> Iterator[Tuple[Path, R]]:
        """Do a step image by image.

        Yields:
            tuple[Path, Any]: An image that did not fail, and what the step
            returned for it.
        """
        for path, item in items.items():
            try:
                with blamed_on(path):
                    result = work(item)
            except InputError as e:
                if self._alone:
                    raise
                print(f'skipped: {e}', file=sys.stderr)
                self.skipped.append(path)
            else:
                yield path, result

    def batch(
        self, work: Callable[[Dict[Path, T]], List[R]], items: Dict[Path, T]
    ) -> Dict[Path, R]:
        """Do a step for a batch; if it fails, again image by image.

        Returns:
            Dict[Path, Any]: The results of the images that did not fail.
        """
        if not items:  # all failed before
            return {}
        try:
            return dict(zip(items, work(items)))
        except Exception as e:
            if not _can_be_of_image(e):
                raise
            alone = {path: {path: item} for path, item in items.items()}
            return dict(self.each(lambda item: work(item)[0], alone))

    def finish(self) -> None:
        """If images were skipped, list them on stderr and exit with 1."""
        if not self.skipped:
            return
        names = [f"'{path}'" for path in self.skipped[:_MOST_NAMES]]
        if len(self.skipped) > _MOST_NAMES:
            names.append(f'and {len(self.skipped) - _MOST_NAMES} more')
        print(
            f'{self.done} of {self.number} images done; skipped: '
            + ', '.join(names),
            file=sys.stderr,
        )
        sys.exit(1)
