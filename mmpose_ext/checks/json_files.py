"""Read the JSON files that a user has named."""

import codecs
import gc
import json
import os.path as osp
import reprlib
from contextlib import contextmanager
from typing import Any, Iterator, List, Tuple

from ..errors import InputError


def check_file(path: str, what: str) -> None:
    """Check that a file that the user has named is there.

    Args:
        path (str): The file.
        what (str): What the file is and where it was named; begins the
            message.

    Raises:
        InputError: The file is missing, empty, or a folder, pipe or device.
    """
    if osp.isdir(path):
        raise InputError(f"{what} '{path}' is a folder, expected a file")
    if not osp.exists(path):
        raise InputError(f"{what} '{path}' does not exist")
    if not osp.isfile(path):
        raise InputError(f"{what} '{path}' is a pipe or device, not a file")
    if osp.getsize(path) == 0:
        raise InputError(f"{what} '{path}' is empty")


def read_json(path: str, what: str) -> Any:
    """Read a JSON file that the user has named.

    Args:
        path (str): The file.
        what (str): As in :func:`check_file`.

    Returns:
        Any: The content.

    Raises:
        InputError: The file is missing, empty, unreadable or not JSON in
            UTF-8, one of its objects has a key twice, or it is nested more
            deeply than Python reads.
    """
    check_file(path, what)
    what = f"{what} '{path}'"
    text = _read_text(path, what)
    repeated: List[Tuple[str, Any]] = []

    def unique(pairs: List[Tuple[str, Any]]) -> dict:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            key = next(k for k in keys if keys.count(k) > 1)
            repeated.append((key, found.get('id')))
        return found

    try:
        with without_collection():
            content = json.loads(text, object_pairs_hook=unique)
    except RecursionError:
        raise InputError(f'{what} is nested too deeply to be read') from None
    except json.JSONDecodeError as e:
        raise InputError(f'{what} is not JSON: {e}') from e
    except ValueError as e:  # more than sys.get_int_max_str_digits() has
        raise InputError(
            f'{what} has a whole number of more digits than Python reads'
        ) from e
    if repeated:
        key, id_ = repeated[0]
        of = '' if id_ is None else f' (its id is {reprlib.repr(id_)})'
        count = len(repeated)
        objects = 'object' if count == 1 else 'objects'
        raise InputError(
            f'{what} has {count} {objects} with a key more than once; '
            f'the first has {reprlib.repr(key)} twice{of}'
        )
    return content


def _read_text(path: str, what: str) -> str:
    try:
        with open(path, 'rb') as f:
            data = f.read()
    except OSError as e:
        raise InputError(f'{what} cannot be read: {e.strerror}') from e
    if data.startswith(b'\x1f\x8b'):
        raise InputError(f'{what} is compressed (gzip): unpack it first')
    # UTF-16 and UTF-32, too, begin with a mark where they may be mistaken.
    for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if data.startswith(mark):
            raise InputError(
                f'{what} begins with a byte order mark, expected JSON in '
                'UTF-8 without one'
            )
    try:
        return data.decode('utf-8')
    except UnicodeDecodeError as e:
        raise InputError(f'{what} is not JSON in UTF-8: {e}') from e


@contextmanager
def without_collection() -> Iterator[None]:
    """Look for no cyclic garbage while many lists and objects are made.

    Half of the time of reading a large file would go into it, and there is
    none.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
