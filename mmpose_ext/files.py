"""Write files atomically."""

import contextlib
import errno
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any, Iterator, Union

import cv2
import numpy as np

from .errors import CANNOT_WRITE


@contextlib.contextmanager
def replacing(path: Union[str, Path], suffix: str = '') -> Iterator[Path]:
    """Write a file under another name, and rename it once it is complete.

    Until then the file that has the name now stays as it is, also where the
    process is killed or the disk is full. Of several writers of one file,
    in threads, processes or on several machines, the last to end wins. What
    only a killed process leaves behind is named ``<name>.<random>.part``
    and the suffix.

    Args:
        path (str | Path): The file; its folder is made. Where it is a link,
            the file that it points to is replaced. An older file passes its
            permissions on.
        suffix (str): What the other name ends in, for writers that choose a
            format by it. Defaults to ``''``.

    Yields:
        Path: An empty new file in the same folder, to be written in the
        ``with`` block. It is removed where an exception leaves the block.

    Raises:
        OSError: The file cannot be written. Its ``filename`` is ``path``.
    """
    target = Path(os.path.realpath(path))
    # File systems take names of 255 bytes, a letter has up to four.
    part = target.with_name(
        f'{target.name[:50]}.{secrets.token_hex(8)}.part{suffix}'
    )
    try:
        if target.exists() and not target.is_file():
            raise FileExistsError(errno.EEXIST, 'it is no regular file')
        target.parent.mkdir(parents=True, exist_ok=True)
        part.open('xb').close()
        yield part
        with part.open('rb+') as file:
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    except OSError as e:
        if e.filename in (None, str(part), str(target.parent)):
            e.filename, e.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@contextlib.contextmanager
def naming_output(
    path: Union[str, Path], drafts: Union[str, Path, None] = None
) -> Iterator[None]:
    """Name what is written where the system does not, as on a full disk.

    Args:
        path (str | Path): The file or folder.
        drafts (str | Path, optional): A folder: what is first written there
            becomes ``path``, and is called so. Defaults to ``None``.

    Raises:
        OSError: That of the ``with`` block, with ``path`` as ``filename``.
    """
    try:
        yield
    except OSError as e:
        is_its = e.filename is None or (
            drafts is not None
            and Path(drafts).resolve() in Path(e.filename).resolve().parents
        )
        if e.errno in CANNOT_WRITE and is_its:
            e.filename, e.filename2 = str(path), None
        raise


def write_atomic(path: Union[str, Path], content: bytes) -> None:
    """Write a file so that it is never seen half; see :func:`replacing`."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_json(path: Union[str, Path], data: Any) -> None:
    """Write a JSON file with :func:`write_atomic`."""
    write_atomic(path, json.dumps(data).encode())


def write_jpeg(path: Union[str, Path], image: np.ndarray) -> None:
    """Write a BGR image of shape (H, W, 3) with :func:`write_atomic`."""
    write_atomic(path, cv2.imencode('.jpg', image)[1].tobytes())
