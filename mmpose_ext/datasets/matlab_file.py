"""Arrays of numbers from files of MATLAB."""

import math
import struct
import zlib
from typing import Iterator, List, Tuple

import numpy as np

from ..checks import check_file
from ..errors import InputError

# By their numbers in "MAT-File Format" (The MathWorks): types of elements.
_NUMBERS = {
    1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8',
    12: 'i8', 13: 'u8',
}  # fmt: skip
_COMPRESSED = 15
# Classes of arrays, from double to uint64; not those of text, cells and so on.
_NUMERIC = range(6, 16)
_IS_COMPLEX = 0x800
# So much of a compressed element is unpacked, at most.
_MAX_BYTES = 2**28


def read_matlab_array(path: str, name: str, what: str) -> np.ndarray:
    """Read an array of real numbers, as MATLAB 5 to 7.2 write it.

    SciPy's reader of these files ends the process on some broken ones.

    Args:
        path (str): The file.
        name (str): The name of the variable.
        what (str): What the file is; begins the message.

    Returns:
        np.ndarray: The array, of its shape in MATLAB and of the type that
        its numbers are stored in.

    Raises:
        InputError: If the file is missing or another one, or has no such
            array.
    """
    check_file(path, what)
    what = f"{what} '{path}'"
    with open(path, 'rb') as f:
        data = f.read()
    order = {b'\0\1IM': '<', b'\1\0MI': '>'}.get(data[124:128])
    if order is None:
        raise InputError(f'{what} is no file of MATLAB 5 to 7.2')
    try:
        for kind, body in _elements(data[128:], order):
            if kind == _COMPRESSED:
                body = zlib.decompressobj().decompress(body, _MAX_BYTES)
                ((_, body),) = _elements(body, order)
            (_, flags), (_, shape), (_, label), *parts = _elements(body, order)
            if label == name.encode():
                return _to_array(flags, shape, parts, order)
    except (KeyError, ValueError, struct.error, zlib.error) as e:
        raise InputError(
            f"{what}: cannot read '{name}': {type(e).__name__}: {e}"
        ) from e
    raise InputError(f"{what} has no '{name}'")


def _elements(data: bytes, order: str) -> Iterator[Tuple[int, bytes]]:
    """Yield the type and the content of elements that lie in a row."""
    start = 0
    while start < len(data):
        kind, size = struct.unpack_from(f'{order}2I', data, start)
        start += 8
        if kind >> 16:  # a small one has its size and content in 8 bytes
            kind, size, start = kind & 0xFFFF, kind >> 16, start - 4
        content = data[start : start + size]
        if len(content) < size:
            raise ValueError('the file ends early')
        yield kind, content
        start += size
        if kind != _COMPRESSED:
            start = -(-start // 8) * 8


def _to_array(
    flags: bytes, shape: bytes, parts: List[Tuple[int, bytes]], order: str
) -> np.ndarray:
    """The array of a matrix element; its real part is the first one."""
    (flag,) = struct.unpack(f'{order}I4x', flags)
    if flag & _IS_COMPLEX or flag & 0xFF not in _NUMERIC:
        raise ValueError('it is no array of real numbers')
    ((kind, numbers),) = parts
    array = np.frombuffer(numbers, order + _NUMBERS[kind])
    dims = np.frombuffer(shape, f'{order}i4').tolist()
    if min(dims) < 0 or math.prod(dims) != len(array):
        raise ValueError(f'{len(array)} numbers for an array of shape {dims}')
    return array.reshape(dims, order='F')
