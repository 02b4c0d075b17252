"""Read checkpoint files: nothing in them runs, odd ones are refused."""

import contextlib
import os
import pickle
import reprlib
import tarfile
from typing import Any, BinaryIO, Iterator, Mapping, Union

import torch
from torch import Tensor

from ..errors import InputError
from . import safe_pickle

# What exported networks are named.
_EXPORTED = ('.onnx', '.xml')
# How files begin.
_LFS_POINTER = b'version https://git-lfs'
_ZIP = b'PK\x03\x04'


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
        return torch.load(f, map_location, safe_pickle, weights_only=False)


def load_pickle(path: str) -> Any:
    """As :func:`load_checkpoint`, of a pickle without torch's archive.

    Args:
        path (str): The file, also one that Python 2 has written.

    Raises:
        InputError: If it is broken, or asks for anything that a checkpoint
            does not need, which is named.
    """
    with _explained(path), open(path, 'rb') as f:
        return safe_pickle.load(f, encoding='latin1')


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Errors of reading a checkpoint, as those of the input."""
    try:
        yield
    except safe_pickle.Forbidden as e:
        raise InputError(
            f"the checkpoint '{name}' asks for {e}, expected only dense "
            'tensors, numbers, strings, numpy arrays, containers and log '
            'histories of MMEngine; nothing was run'
        ) from None
    except InputError:
        raise
    except Exception as e:
        # Below it, torch's errors have the stack of its native code.
        first = str(e).partition('\n')[0]
        raise InputError(
            f"cannot read the checkpoint '{name}', is it whole? "
            f'{type(e).__name__}: {first}'
        ) from e


def _refuse_other_formats(file: BinaryIO, name: str) -> None:
    """Keep from ``torch.load`` what it does not check, or not name.

    It hands a TorchScript archive to ``torch.jit.load``, and unpacks the tar
    files of the first torch. Of what is no pickle at all it names a byte.
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
