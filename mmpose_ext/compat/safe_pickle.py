"""Unpickle what checkpoints hold; nothing in them runs."""

import functools
import pickle
from collections import Counter, OrderedDict
from typing import Any, BinaryIO, Callable, Dict

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

# Of tuples. Python crashes where it hashes many more, as of a key.
_MAX_DEPTH = 50


class Forbidden(pickle.UnpicklingError):
    """A checkpoint asks for something that no checkpoint needs."""


def _history_method(owner: type, name: str) -> Callable:
    """``getattr``, reduced to what a pickled ``HistoryBuffer`` asks of it."""
    if owner is not HistoryBuffer or name not in (
        'current',
        'max',
        'mean',
        'min',
    ):
        raise Forbidden(f'builtins.getattr({owner!r}, {name!r})')
    return getattr(HistoryBuffer, name)


def _latin1(text: str, encoding: str) -> bytes:
    """``_codecs.encode``, by which pickle protocol 2 writes bytes."""
    if encoding not in ('latin1', 'latin-1'):
        raise Forbidden(f'_codecs.encode(…, {encoding!r})')
    return text.encode('latin1')


def _numpy_dtype(spec: str, *_: bool) -> np.dtype:
    """``numpy.dtype`` of numbers and strings.

    Object and structured types are left out, because numpy trusts what a
    pickle has of their memory.
    """
    dtype = np.dtype(spec, False, True) if isinstance(spec, str) else None
    if dtype is None or dtype.kind not in 'biufcSU':
        raise Forbidden(f'numpy.dtype({spec!r})')
    return dtype


def _numpy_array(*_: Any) -> np.ndarray:
    """``numpy…_reconstruct``: an empty array, to be filled by its state."""
    return np.ndarray(0, 'b')


def _numpy_scalar(dtype: np.dtype, data: bytes) -> np.generic:
    """``numpy…scalar``."""
    return np.frombuffer(data, dtype, count=1)[0]


# Everything that a checkpoint may name, by module and name. The functions
# above stand in for more powerful ones; nothing else here does more than to
# make a value.
_GLOBALS: Dict[tuple, Any] = {
    ('builtins', 'getattr'): _history_method,
    ('builtins', 'bytes'): bytes,
    ('builtins', 'bytearray'): bytearray,
    ('builtins', 'complex'): complex,
    ('builtins', 'frozenset'): frozenset,
    ('builtins', 'set'): set,
    ('_codecs', 'encode'): _latin1,
    ('collections', 'Counter'): Counter,
    ('collections', 'OrderedDict'): OrderedDict,
    ('mmengine.config.config', 'ConfigDict'): ConfigDict,
    ('mmengine.logging.history_buffer', 'HistoryBuffer'): HistoryBuffer,
    ('numpy', 'dtype'): _numpy_dtype,
    ('numpy', 'ndarray'): 'numpy.ndarray',  # only named, never called
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
}
for _core in ('numpy.core.multiarray', 'numpy._core.multiarray'):
    _GLOBALS[_core, '_reconstruct'] = _numpy_array
    _GLOBALS[_core, 'scalar'] = _numpy_scalar
for _name in ('_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter'):
    _GLOBALS['torch._utils', _name] = getattr(torch._utils, _name)
# What they may not name is explained where weights can be of that kind.
_KINDS_OF_TENSORS = {
    '_rebuild_meta_tensor_no_storage': 'a tensor without values',
    '_rebuild_sparse_tensor': 'a sparse tensor',
}
_GLOBALS.update(
    (('torch', _name), _value)
    for _name, _value in vars(torch).items()
    if isinstance(_value, torch.dtype)
)


class Unpickler(pickle._Unpickler):
    """An unpickler that makes the values of a checkpoint and nothing else.

    The Python one of the standard library, because in C the opcode that
    gives an object its state cannot be overridden, and that one could change
    torch's functions or make numpy read memory that is not its own.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: BinaryIO, **kwargs: Any) -> None:
        super().__init__(file, **kwargs)
        readline = self._file_readline

        def read_whole_line() -> bytes:
            line = readline()
            if not line.endswith(b'\n'):
                raise EOFError('it ends within a name')
            return line

        self._file_readline = read_whole_line

    def find_class(self, module: str, name: str) -> Any:
        module = {'__builtin__': 'builtins'}.get(module, module)
        try:
            return _GLOBALS[module, name]
        except KeyError:
            kind = _KINDS_OF_TENSORS.get(name)
            kind = f' ({kind})' if kind else ''
            raise Forbidden(f'{module}.{name}{kind}') from None

    def load_build(self) -> None:
        state = self.stack.pop()
        instance = self.stack[-1]
        if type(instance) is OrderedDict:
            # Nothing that could take the place of a method.
            if '_metadata' in state:
                instance._metadata = state['_metadata']
        elif type(instance) is np.ndarray:
            instance.__setstate__(state)
        elif isinstance(instance, np.dtype):
            # Only the byte order is taken from the file.
            ordered = instance.newbyteorder(state[1])
            instance.__setstate__(ordered.__reduce__()[2])
        elif type(instance) is HistoryBuffer:
            # Without the methods: they are those of the running program.
            instance.__setstate__(
                {key: state[key] for key in vars(HistoryBuffer())}
            )
        else:
            raise Forbidden(f'the state of a {type(instance).__name__}')

    dispatch[pickle.BUILD[0]] = load_build

    def load_binpersid(self) -> None:
        # Torch's old format also has modules here, and compares their source
        # with what the file has of it.
        kind = self.stack[-1][0]
        if kind != 'storage':
            raise Forbidden(f'a persistent {kind}')
        super().load_binpersid()

    dispatch[pickle.BINPERSID[0]] = load_binpersid

    def _limited(load: Callable) -> Callable:
        """Limit the tuples in tuples that an opcode makes."""

        @functools.wraps(load)
        def load_limited(self: 'Unpickler') -> None:
            load(self)
            made = self.stack[-1]
            depths = self.__dict__.setdefault('depths', {})
            inner = [depths.get(id(x), 0) for x in made if type(x) is tuple]
            depths[id(made)] = depth = 1 + max(inner, default=0)
            if depth > _MAX_DEPTH:
                raise Forbidden(f'more than {_MAX_DEPTH} tuples in another')

        return load_limited

    for _opcode in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3):
        dispatch[_opcode[0]] = _limited(dispatch[_opcode[0]])


def load(file: BinaryIO, **kwargs: Any) -> Any:
    """As of ``pickle``: ``torch.load`` takes this module in its place."""
    return Unpickler(file, **kwargs).load()
