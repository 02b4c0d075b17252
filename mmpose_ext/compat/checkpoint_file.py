"""Read checkpoint files: nothing in them runs, odd ones are refused."""

import contextlib
import functools
import os
import pickle
import reprlib
import tarfile
import threading
from collections import Counter, OrderedDict
from typing import (
    Any,
    BinaryIO,
    Callable,
    Dict,
    Iterator,
    Mapping,
    Optional,
    Union,
)
from urllib.error import URLError
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from torch import Tensor

from ..errors import InputError

# In each thread the 'name' of the checkpoint of the last
# :func:`load_for_mmengine`: MMEngine reads a file in one function and gives
# a model its weights in another, which does not know the name.
last_loaded = threading.local()


# Below it, torch's errors have the stack of its native code.
_NEWLINE = '\n'
# What exported networks are named.
_EXPORTED = ('.onnx', '.xml')
# How files begin.
_LFS_POINTER = b'version https://git-lfs'
_ZIP = b'PK\x03\x04'
# Of tuples. Python crashes where it hashes many more, as of a key.
_MAX_DEPTH = 50


class _Forbidden(pickle.UnpicklingError):
    """A checkpoint asks for something that no checkpoint needs."""


def _history_method(owner: type, name: str) -> Callable:
    """``getattr``, reduced to what a pickled ``HistoryBuffer`` asks of it."""
    if owner is not HistoryBuffer or name not in (
        'current',
        'max',
        'mean',
        'min',
    ):
        raise _Forbidden(f'builtins.getattr({owner!r}, {name!r})')
    return getattr(HistoryBuffer, name)


def _latin1(text: str, encoding: str) -> bytes:
    """``_codecs.encode``, by which pickle protocol 2 writes bytes."""
    if encoding not in ('latin1', 'latin-1'):
        raise _Forbidden(f'_codecs.encode(…, {encoding!r})')
    return text.encode('latin1')


def _numpy_dtype(spec: str, *_: bool) -> np.dtype:
    """``numpy.dtype`` of numbers and strings.

    Object and structured types are left out, because numpy believes what a
    pickle says of their memory.
    """
    dtype = np.dtype(spec, False, True) if isinstance(spec, str) else None
    if dtype is None or dtype.kind not in 'biufcSU':
        raise _Forbidden(f'numpy.dtype({spec!r})')
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


class _Unpickler(pickle._Unpickler):
    """An unpickler that makes the values of a checkpoint and nothing else.

    The Python one of the standard library, because in C the opcode that
    gives an object its state cannot be overridden, and that one could change
    torch's functions or make numpy read memory that is not its own.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        module = {'__builtin__': 'builtins'}.get(module, module)
        try:
            return _GLOBALS[module, name]
        except KeyError:
            kind = _KINDS_OF_TENSORS.get(name)
            kind = f' ({kind})' if kind else ''
            raise _Forbidden(f'{module}.{name}{kind}') from None

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
            raise _Forbidden(f'the state of a {type(instance).__name__}')

    dispatch[pickle.BUILD[0]] = load_build

    def load_binpersid(self) -> None:
        # Torch's old format also has modules here, and compares their source
        # with what the file says of it.
        kind = self.stack[-1][0]
        if kind != 'storage':
            raise _Forbidden(f'a persistent {kind}')
        super().load_binpersid()

    dispatch[pickle.BINPERSID[0]] = load_binpersid

    def _limited(load: Callable) -> Callable:
        """Limit the tuples in tuples that an opcode makes."""

        @functools.wraps(load)
        def load_limited(self: '_Unpickler') -> None:
            load(self)
            made = self.stack[-1]
            depths = self.__dict__.setdefault('depths', {})
            inner = [depths.get(id(x), 0) for x in made if type(x) is tuple]
            depths[id(made)] = depth = 1 + max(inner, default=0)
            if depth > _MAX_DEPTH:
                raise _Forbidden(f'more than {_MAX_DEPTH} tuples in another')

        return load_limited

    for _opcode in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3):
        dispatch[_opcode[0]] = _limited(dispatch[_opcode[0]])


class _SafePickle:
    """What ``torch.load`` needs of a ``pickle_module``."""

    Unpickler = _Unpickler

    @staticmethod
    def load(file: BinaryIO, **kwargs: Any) -> Any:
        return _Unpickler(file, **kwargs).load()


def load_checkpoint(
    file: Union[str, os.PathLike, BinaryIO], map_location: Any = None
) -> Any:
    """Load a checkpoint without running anything that is written in it.

    Tensors, plain values and what MMEngine adds to them (numpy arrays and
    scalars, the histories of logged values) are admitted, and nothing else.

    Args:
        file: Path of the checkpoint, or a binary file opened on it.
        map_location: As in :func:`torch.load`.

    Raises:
        InputError: if there is no such file, if it is not a whole
            checkpoint, or if it asks for anything else, which is named.
    """
    is_open = hasattr(file, 'read')
    name = 'the opened file' if is_open else os.path.expanduser(file)
    if not (is_open or os.path.isfile(name)):
        raise InputError(f"there is no checkpoint file '{name}'")
    with (
        _explained(name),
        contextlib.nullcontext(file) if is_open else open(name, 'rb') as f,
    ):
        _refuse_other_formats(f, name)
        return torch.load(f, map_location, _SafePickle, weights_only=False)


def load_pickle(path: str) -> Any:
    """As :func:`load_checkpoint`, of a pickle without torch's archive.

    Args:
        path (str): The file, also one that Python 2 has written.

    Raises:
        InputError: If it is broken, or asks for anything that a checkpoint
            does not need, which is named.
    """
    with _explained(path), open(path, 'rb') as f:
        return _Unpickler(f, encoding='latin1').load()


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Errors of reading a checkpoint, as those of the input."""
    try:
        yield
    except _Forbidden as e:
        raise InputError(
            f"the checkpoint '{name}' asks for {e}, which is none of what a "
            'checkpoint needs (tensors, numbers, strings, numpy arrays, '
            "containers, MMEngine's log histories); nothing was run"
        ) from None
    except InputError:
        raise
    except Exception as e:
        raise InputError(
            f"cannot read the checkpoint '{name}', is it whole? "
            f'{type(e).__name__}: {str(e).partition(_NEWLINE)[0]}'
        ) from e


def _refuse_other_formats(file: BinaryIO, name: str) -> None:
    """Keep from ``torch.load`` what it does not check, or not name.

    It hands a TorchScript archive to ``torch.jit.load``, and unpacks the tar
    files of the first torch. Of what is no pickle at all it says a byte.
    """
    start = file.read(len(_LFS_POINTER))
    file.seek(0)
    if start == _LFS_POINTER:
        raise InputError(
            f"'{name}' is a Git LFS pointer, expected the checkpoint that it "
            "stands for: fetch it with 'git lfs pull'"
        )
    is_zip = start.startswith(_ZIP)
    if is_zip:
        records = torch._C.PyTorchFileReader(file).get_all_records()
        if 'constants.pkl' in records:
            raise InputError(
                f"'{name}' is a TorchScript archive, expected a checkpoint"
            )
    elif tarfile.is_tarfile(file):
        raise InputError(
            f"'{name}' is a tar archive, as torch before 0.2 wrote them, "
            'expected a checkpoint of a newer torch'
        )
    # Shorter is no other format, but cut off.
    elif not (start.startswith(pickle.PROTO) or _ZIP.startswith(start)):
        message = f"'{name}' is no checkpoint of PyTorch"
        if str(name).lower().endswith(_EXPORTED):
            message += ', but an exported file: its weights are in it'
        raise InputError(message)
    file.seek(0)


def find_weights(checkpoint: Any, name: str) -> Mapping[str, Any]:
    """The weights of a checkpoint, alone or under ``state_dict``.

    Args:
        checkpoint: The content of the file.
        name: The file, for messages.

    Returns:
        Mapping[str, Any]: The weights by name. Where they are not under
        ``state_dict``, other things may be among them.

    Raises:
        InputError: if there are none, or if what MMEngine relies on is of
            another type: a name, a weight, the versions of the modules, the
            ``meta`` or its ``dataset_meta``.
    """

    def check_dict(value: Any, what: str) -> None:
        if not isinstance(value, Mapping):
            refuse(what, type(value).__name__)

    def refuse(what: str, got: str) -> None:
        raise InputError(f"checkpoint '{name}': expected {what}, got {got}")

    what = 'weights by name'
    check_dict(checkpoint, what)
    weights = checkpoint
    if 'state_dict' in checkpoint:
        weights, what = checkpoint['state_dict'], f"{what} under 'state_dict'"
        check_dict(weights, what)
    for key, value in weights.items():
        if not isinstance(key, str):
            refuse(what, f'the name {key!r:.80}')
        # Some modules save more than tensors, under a name of torch's.
        if not (
            weights is checkpoint
            or isinstance(value, Tensor)
            or key.endswith('_extra_state')
        ):
            refuse(what, f'{type(value).__name__} for {key!r:.80}')
    # Other projects have their weights under other names.
    if not any(isinstance(v, (Tensor, Mapping)) for v in weights.values()):
        refuse(what, 'none')

    versions = getattr(weights, '_metadata', {})
    check_dict(versions, "a dict as '_metadata' of the weights")
    for key, module in versions.items():
        check_dict(module, f"a dict for {key!r:.80} in '_metadata'")
        version = module.get('version')
        if not isinstance(version, (int, type(None))):
            refuse(
                f"a number as 'version' of {key!r:.80}", reprlib.repr(version)
            )
    meta = checkpoint.get('meta', {})
    check_dict(meta, "a dict under 'meta'")
    check_dict(meta.get('dataset_meta', {}), "a dict under 'dataset_meta'")
    return weights


def load_for_mmengine(
    file: Union[str, os.PathLike, BinaryIO], map_location: Any = None
) -> dict:
    """Load a checkpoint that MMEngine can work with.

    Without the config that MMCV once put into it: MMEngine, resuming, would
    run that text as Python to learn the number of GPUs. What MMEngine saves
    has no such entry.

    Args:
        file: As in :func:`load_checkpoint`.
        map_location: As in :func:`torch.load`.

    Raises:
        InputError: as from :func:`load_checkpoint` and
            :func:`find_weights`.
    """
    checkpoint = load_checkpoint(file, map_location)
    last_loaded.name = 'file' if hasattr(file, 'read') else str(file)
    find_weights(checkpoint, last_loaded.name)
    checkpoint.get('meta', {}).pop('config', None)
    return checkpoint


def load_url(
    url: str,
    model_dir: Optional[str] = None,
    map_location: Any = None,
    progress: bool = True,
) -> Any:
    """``torch.hub.load_state_dict_from_url``, which loads without a check."""
    folder = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    path = os.path.join(folder, os.path.basename(urlparse(url).path))
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, path, progress=progress)
        except URLError as e:
            raise InputError(f"cannot download '{url}': {e}") from e
    return load_for_mmengine(path, map_location)
