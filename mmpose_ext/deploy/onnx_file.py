"""The texts and references of an ``.onnx`` file, before a runtime reads it.

ONNX Runtime opens whatever file a tensor's ``external_data`` names. So the
file, a `protocol buffer <https://protobuf.dev/programming-guides/encoding>`_,
is read here as far as its tensors, without the package ``onnx``, which is not
needed to run networks.
"""

from typing import Dict, Iterator, Tuple, Union

from ..errors import InputError

# What a protocol buffer can be at most.
MAX_BYTES = 2**31 - 1

# By message of onnx.proto3, the numbers of the fields that hold others in
# which there are tensors.
_FIELDS: Dict[str, Dict[int, str]] = {
    'ModelProto': {
        7: 'GraphProto',
        20: 'TrainingInfoProto',
        25: 'FunctionProto',
    },
    'TrainingInfoProto': {1: 'GraphProto', 2: 'GraphProto'},
    'GraphProto': {1: 'NodeProto', 5: 'TensorProto', 15: 'SparseTensorProto'},
    'FunctionProto': {7: 'NodeProto', 11: 'AttributeProto'},
    'NodeProto': {5: 'AttributeProto'},
    'AttributeProto': {
        5: 'TensorProto',
        6: 'GraphProto',
        10: 'TensorProto',
        11: 'GraphProto',
        22: 'SparseTensorProto',
        23: 'SparseTensorProto',
    },
    'SparseTensorProto': {1: 'TensorProto', 2: 'TensorProto'},
}
_METADATA = 14
_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# As in the readers of protocol buffers.
_MAX_DEPTH = 100
_LENGTHS = {_FIXED64: 8, _FIXED32: 4}

_Field = Tuple[int, Union[int, memoryview]]


def read_texts(content: bytes, path: str) -> Dict[str, str]:
    """The texts that an ``.onnx`` file carries; checks that it is whole.

    Args:
        content (bytes): The file.
        path (str): Its name, for messages.

    Returns:
        dict[str, str]: The entries of ``metadata_props``.

    Raises:
        InputError: It is no ONNX file, or refers to another file.
    """
    texts: Dict[str, str] = {}
    try:
        _visit(memoryview(content), 'ModelProto', texts)
    except _Outside as e:
        raise InputError(
            f"exported network '{path}' has {e} in another file, expected all "
            'of it in one file'
        ) from e
    except ValueError as e:
        raise InputError(
            f"exported network '{path}' cannot be read as ONNX; it is broken "
            f'or of another kind: {e}'
        ) from e
    return texts


class _Outside(Exception):
    """A tensor whose values are in another file."""


def _visit(
    data: memoryview, kind: str, texts: Dict[str, str], depth: int = 0
) -> None:
    """Go through a message and those in it; collect the model's texts."""
    if depth > _MAX_DEPTH:
        raise ValueError(f'expected at most {_MAX_DEPTH} messages in another')
    if kind == 'TensorProto':
        _check_tensor(data)
        return
    inner = _FIELDS[kind]
    for number, value in _fields(data):
        if isinstance(value, int):
            continue
        if number in inner:
            _visit(value, inner[number], texts, depth + 1)
        elif kind == 'ModelProto' and number == _METADATA:
            key, text = _entry(value)
            texts[key] = text


def _fields(data: memoryview) -> Iterator[_Field]:
    """The fields of a message: their numbers, and integers or bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        # Protocol buffers' own readers would drop the digits above 32 bits,
        # and find another field.
        if not 0 < number < 2**29:
            raise ValueError(f'there is no field {number}')
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == _BYTES:
            length, position = _varint(data, position)
        elif kind in _LENGTHS:
            length = _LENGTHS[kind]
        else:
            raise ValueError(f'field {number} is of the unknown kind {kind}')
        end = position + length
        if end > len(data):
            raise ValueError(f'field {number} is cut off')
        yield number, data[position:end]
        position = end


def _varint(data: memoryview, position: int) -> Tuple[int, int]:
    """A number in base 128, its lowest digits first, and where it ends."""
    value = shift = 0
    for byte in data[position : position + 10]:
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position
    raise ValueError('a number has no end')


def _check_tensor(data: memoryview) -> None:
    name, location, outside = '', '', False
    for number, value in _fields(data):
        if number == _NAME:
            name = _text(value)
        elif number == _DATA_LOCATION:
            outside |= value != 0
        elif number == _EXTERNAL_DATA:
            outside = True
            key, text = _entry(value)
            location = text if key == 'location' else location
    if outside:
        raise _Outside(f'the values of {name!r} ({location!r})')


def _entry(data: Union[int, memoryview]) -> Tuple[str, str]:
    """Key and value of a ``StringStringEntryProto``."""
    if isinstance(data, int):
        raise ValueError('an entry is a number')
    fields = dict(_fields(data))
    return _text(fields.get(1, b'')), _text(fields.get(2, b''))


def _text(value: Union[int, bytes, memoryview]) -> str:
    if isinstance(value, int):
        raise ValueError('a text is a number')
    return str(value, 'utf-8')
