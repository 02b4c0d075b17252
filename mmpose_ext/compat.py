"""The one place that knows what other packages break, and mends it.

:func:`apply` runs when ``mmpose_ext`` is imported and mends what every user
meets; :func:`setup_cpu_distributed` is for the tools. Each does nothing
where nothing is broken.
"""

import atexit
import contextlib
import datetime
import importlib.machinery
import importlib.util
import os
import pickle
import sys
import tarfile
from collections import Counter, OrderedDict
from typing import Any, BinaryIO, Callable, Dict, Optional, Union
from urllib.error import URLError
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.logging import HistoryBuffer

from .errors import InputError


def apply() -> None:
    """Mend what is broken; a second call changes nothing.

    To be called before anything imports torchvision, which MMPose does.
    """
    _declare_torchvision_ops()
    _load_checkpoints_safely()


# -- A torchvision whose compiled part does not fit torch --------------------

# Declarations live as long as the library that made them.
_torchvision_library: Optional[torch.library.Library] = None


def _declare_torchvision_ops() -> None:
    """Let torchvision be imported where its compiled part cannot load.

    A CPU build of torch beside a CUDA build of torchvision is the usual
    case. Torchvision's Python part then gives two operators a fake kernel
    although only the compiled part would have declared them, and the import
    ends in ``operator torchvision::nms does not exist``. Declared, they can
    be imported; called, they say that they have no kernel.

    On Windows the compiled part needs folders that only torchvision itself
    adds to the search path, so whether it loads cannot be told from here.
    """
    global _torchvision_library
    if 'torchvision' in sys.modules or sys.platform == 'win32':
        return
    package = importlib.util.find_spec('torchvision')
    if package is None or not package.submodule_search_locations:
        return
    compiled = importlib.machinery.PathFinder.find_spec(
        '_C', list(package.submodule_search_locations)
    )
    try:
        if compiled is not None:
            torch.ops.load_library(compiled.origin)
    except OSError:  # as torchvision takes it: the operators stay unknown
        compiled = None
    if compiled is None and not hasattr(torch.ops.torchvision, 'nms'):
        library = torch.library.Library('torchvision', 'FRAGMENT')
        for name in ('nms', 'qnms'):
            library.define(
                f'{name}(Tensor dets, Tensor scores, float iou_threshold)'
                ' -> Tensor'
            )
        _torchvision_library = library


# -- Checkpoints that are not only tensors -----------------------------------


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
            raise _Forbidden(f'{module}.{name}') from None

    def load_build(self) -> None:
        state = self.stack.pop()
        instance = self.stack[-1]
        if type(instance) is OrderedDict:
            vars(instance).update(state)
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

    Tensors and plain values are read as ``torch.load(weights_only=True)``
    does. What MMEngine adds to them (numpy arrays and scalars, the
    histories of logged values) is admitted too, and nothing else.

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
    try:
        with (
            contextlib.nullcontext(file) if is_open else open(name, 'rb')
        ) as f:
            _refuse_other_formats(f, name)
            try:
                return torch.load(f, map_location, weights_only=True)
            except pickle.UnpicklingError:  # more than tensors: see what
                f.seek(0)
                return torch.load(
                    f, map_location, _SafePickle, weights_only=False
                )
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
            f'{type(e).__name__}: {e}'
        ) from e


def _refuse_other_formats(file: BinaryIO, name: str) -> None:
    """Keep from ``torch.load`` the two formats that it does not check.

    Before torch 2.6 even ``weights_only=True`` hands a TorchScript archive
    to ``torch.jit.load`` and unpacks the tar files of the first torch.
    """
    is_zip = file.read(4) == b'PK\x03\x04'
    file.seek(0)
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
    file.seek(0)


def _load_for_mmengine(file: Any, map_location: Any = None) -> Any:
    """Load a checkpoint without the config that MMCV once put into it.

    MMEngine, resuming, would run that text as Python to learn the number of
    GPUs; what MMEngine saves has no such entry.
    """
    checkpoint = load_checkpoint(file, map_location)
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint


def _load_url(
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
    return _load_for_mmengine(path, map_location)


class _TorchWithSafeLoad:
    """``torch`` for the module whose every ``torch.load`` is to be safe."""

    load = staticmethod(_load_for_mmengine)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _load_checkpoints_safely() -> None:
    """Let MMEngine load, and resume from, what MMEngine saves.

    Since torch 2.6 its own loader refuses every checkpoint that holds a
    history of logged values or a numpy array; before, and for downloads to
    this day, it runs whatever a file tells it to.
    """
    from mmengine.runner import checkpoint

    # MMEngine says by the name of a loader where it loads from.
    def load_from_local(filename: str, map_location: Any) -> Any:
        return _load_for_mmengine(filename, map_location)

    checkpoint.CheckpointLoader.register_scheme(
        prefixes='', loader=load_from_local, force=True
    )
    # The loaders of the other schemes (http, torchvision, open-mmlab, s3,
    # ...) call each other and end in one of these two.
    checkpoint.load_url = _load_url
    checkpoint.torch = _TorchWithSafeLoad()


# -- Distributed training without a GPU --------------------------------------

# Where each launcher tells a process its place.
_LAUNCHERS = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'mpi': (
        'OMPI_COMM_WORLD_RANK',
        'OMPI_COMM_WORLD_SIZE',
        'OMPI_COMM_WORLD_LOCAL_RANK',
    ),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
}


def setup_cpu_distributed(cfg: Config, launcher: str) -> None:
    """Start the processes' group on the CPU, and fit a config to it.

    MMEngine picks a CUDA device for every process whether there is one or
    not, both when it starts the group, which it leaves when one runs, and
    when it wraps the model, where a config decides. Nothing is done where
    MMEngine would use another device than the CPU.

    Args:
        cfg: The config of the run, changed in place: the wrapper of the
            model gets no device, the backend becomes gloo.
        launcher: 'none', 'pytorch', 'mpi' or 'slurm'.

    Raises:
        InputError: if a variable that the launcher sets is missing from the
            environment.
    """
    if launcher == 'none' or get_device() != 'cpu':
        return
    if not torch.distributed.is_initialized():
        _start_gloo(launcher, cfg.get('env_cfg', {}).get('dist_cfg', {}))
    cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})

    # MMEngine's own choices, of which a config replaces all.
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper.setdefault('device_ids', None)
    cfg.model_wrapper_cfg = wrapper


def _start_gloo(launcher: str, dist_cfg: Dict) -> None:
    if launcher not in _LAUNCHERS:
        raise InputError(
            f"launcher '{launcher}' is unknown, expected 'none' or one of "
            f'{", ".join(_LAUNCHERS)}'
        )
    env = os.environ
    env.setdefault('MASTER_PORT', '29500')  # torch's and MMEngine's default
    theirs = _LAUNCHERS[launcher]
    missing = [name for name in (*theirs, 'MASTER_ADDR') if name not in env]
    if missing:
        raise InputError(
            f"launcher '{launcher}' sets {', '.join(missing)} in the "
            'environment, which are missing; was the program started by it?'
        )
    for ours, their in zip(_LAUNCHERS['pytorch'], theirs):
        env[ours] = env[their]
    kwargs = {}
    if dist_cfg.get('timeout') is not None:  # in seconds, as for MMEngine
        kwargs['timeout'] = datetime.timedelta(seconds=dist_cfg['timeout'])
    torch.distributed.init_process_group('gloo', **kwargs)
    atexit.register(_stop_group)


def _stop_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
