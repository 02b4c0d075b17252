"""What an ``.xml`` file of OpenVINO carries and refers to, before it runs."""

import math
import re
from pathlib import Path
from typing import Dict, List
from xml.parsers import expat

from ..errors import InputError

MAX_XML_BYTES = 2**27
MAX_BIN_BYTES = 2**33
# Networks in networks, as the body of a loop; what reads them is recursive.
_MAX_DEPTH = 64
_TEXTS = ('net', 'rt_info')


def check_weights(path: str) -> Path:
    """Check the file of the weights beside an ``.xml`` file.

    Args:
        path (str): The ``.xml`` file.

    Returns:
        Path: The ``.bin`` file.

    Raises:
        InputError: It is missing, is a link, which could lead out of the
            folder, or is too large.
    """
    weights = Path(path).with_suffix('.bin')
    check_no_link(weights, path)
    if not weights.is_file():
        raise InputError(
            f"weights of the exported network '{weights}' does not exist"
        )
    _check_size(weights, MAX_BIN_BYTES)
    return weights


def check_no_link(file: Path, path: str) -> None:
    """Check that a file which another one refers to lies in its folder.

    Args:
        file (Path): The file.
        path (str): The one that refers to it.

    Raises:
        InputError: It is a link.
    """
    if file.is_symlink():
        raise InputError(
            f"'{file}', to which '{path}' refers, is a link: expected a file "
            'in its folder'
        )


def read_content(path: str) -> bytes:
    """The bytes of an ``.xml`` file.

    Args:
        path (str): The file.

    Raises:
        InputError: It is too large.
    """
    _check_size(Path(path), MAX_XML_BYTES)
    return Path(path).read_bytes()


def read_texts(content: bytes, path: str, size: int) -> Dict[str, str]:
    """The texts that an ``.xml`` file carries; checks that it is whole.

    Args:
        content (bytes): The file.
        path (str): Its name, for messages.
        size (int): Bytes of the weights beside it.

    Returns:
        dict[str, str]: The entries of ``rt_info`` that have a value.

    Raises:
        InputError: It is no file of OpenVINO, defines entities, or refers to
            what is not in its weights.
    """
    reader = _Reader(size)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(content, True)
    # Encodings that Python lacks or that are of several bytes, too.
    except (expat.ExpatError, _Broken, LookupError, ValueError) as e:
        raise InputError(
            f"exported network '{path}' cannot be read as OpenVINO's; it is "
            f'broken or of another kind: {e}'
        ) from e
    return reader.texts


class _Broken(Exception):
    """What is wrong with a file."""


class _Reader:
    """Takes an ``.xml`` file element by element.

    Args:
        size (int): Bytes of the weights.

    Attributes:
        texts (dict[str, str]): What ``rt_info`` holds.
    """

    def __init__(self, size: int):
        self.size = size
        self.texts: Dict[str, str] = {}
        self._open: List[str] = []

    def refuse_doctype(self, name: str, *_: object) -> None:
        raise _Broken(f"expected no document type, got '{name}'")

    def start(self, name: str, attributes: Dict[str, str]) -> None:
        if not self._open and name != 'net':
            raise _Broken(f"expected a 'net', got '{name}'")
        if tuple(self._open) == _TEXTS and 'value' in attributes:
            self.texts[name] = attributes['value']
        if {'offset', 'size'} <= attributes.keys():
            self._check_constant(attributes)
        self._open.append(name)
        if len(self._open) > _MAX_DEPTH:
            raise _Broken(f'expected at most {_MAX_DEPTH} elements in another')

    def end(self, name: str) -> None:
        self._open.pop()

    def _check_constant(self, attributes: Dict[str, str]) -> None:
        offset, size = attributes['offset'], attributes['size']
        shape = attributes.get('shape', '')
        # Numbers of at most 64 bits; an empty shape is that of a scalar.
        numbers = [offset, size, *filter(None, shape.split(','))]
        good = all(re.fullmatch(' ?[0-9]{1,20}', n) for n in numbers)
        if good:
            start, length, *lengths = map(int, numbers)
            # Of one bit each at least.
            good = math.prod(lengths) <= 8 * length
            good = good and start + length <= self.size
        if not good:
            raise _Broken(
                f'a constant has offset {offset}, size {size} and shape '
                f'({shape}), but the weights have {self.size} bytes'
            )


def _check_size(path: Path, limit: int) -> None:
    size = path.stat().st_size
    if size > limit:
        raise InputError(
            f"exported network '{path}' has {size} bytes, expected at most "
            f'{limit}'
        )
