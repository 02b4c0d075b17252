"""The texts and references of OpenVINO's ``.xml`` files, before they run."""

import math
import re
from typing import Dict, List
from xml.parsers import expat

from ..errors import InputError

MAX_XML_BYTES = 2**27
MAX_BIN_BYTES = 2**33
# Networks in networks, as the body of a loop; what reads them is recursive.
_MAX_DEPTH = 64
_TEXTS = ('net', 'rt_info')


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
    """Reads an ``.xml`` file element by element.

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
