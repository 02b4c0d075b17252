"""Tensors that claim to be on a CUDA device, over data of the CPU.

The claim belongs to a storage, so views, what autograd saves and gradients
have it too. Two modes watch what is done: one answers what code asks a tensor
(``device``, ``is_cuda``) and does what moves data from one device to the
other; the other sees every operator, also those inside PyTorch's functions
and in the backward pass, of whose Python code the first sees nothing.
"""

import re
import sys
from collections import Counter
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
)
from torch.utils._pytree import tree_flatten

CUDA = torch.device('cuda', 0)

_aten = torch.ops.aten
# They tell the CPU a value, or the size of their output.
_WAITING = {
    _aten._local_scalar_dense: 'value',  # item(), bool(), float(), ...
    _aten.equal: 'value',
    _aten.nonzero: 'size',
    _aten.masked_select: 'size',
    _aten._unique: 'size',
    _aten._unique2: 'size',
    _aten.unique_dim: 'size',
    _aten.unique_consecutive: 'size',
    _aten.bincount: 'size',
}
_INDEXING = {
    _aten.index,
    _aten._unsafe_index,
    _aten.index_put,
    _aten.index_put_,
    _aten._index_put_impl_,
}
# Besides pointwise operators, these take a number of the CPU.
_WITH_NUMBER = {
    *_INDEXING,
    _aten.fill,
    _aten.fill_,
    _aten.masked_fill,
    _aten.masked_fill_,
}
_ANSWERS = {
    Tensor.device.__get__: CUDA,
    Tensor.is_cuda.__get__: True,
    Tensor.is_cpu.__get__: False,
    Tensor.get_device: 0,
}
_FROM_DATA = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}

PACKAGES = ('mmpose_ext', 'mmpose', 'mmdet', 'mmengine', 'mmcv')
# By their folders, since a checkout may lie in one of the same name.
_FOLDERS = [Path(find_spec(name).origin).parent for name in PACKAGES]
# It is not these that wait, but who calls them.
_CALLED = (str(Path(torch.__file__).parent), __file__)
_HELPERS = ('to_numpy',)


class Wait(NamedTuple):
    """Something for which the CPU would wait for the device.

    Attributes:
        why (str): ``'value'``, ``'size'`` (of an output) or ``'copy'``.
        where (str): File and function; of what is done in the backward pass,
            those of the forward pass that it belongs to, which PyTorch keeps
            in its anomaly mode alone.
        backward (bool): Whether it is done in the backward pass.
    """

    why: str
    where: str
    backward: bool


class ClaimedDevice:
    """While it is active, tensors may claim to be on ``cuda:0``.

    Attributes:
        mixes (list[str]): Operations on tensors of both devices, and others,
            which PyTorch would refuse.
        waits (list[Wait]): What would wait for the device.
    """

    def __init__(self):
        self.mixes: List[str] = []
        self.waits: List[Wait] = []
        self._claimed = set()
        # Whether tensors that are made of none claim to be on the device.
        self._new = False
        self._checking = True
        self._modes = _Functions(self), _Operators(self)

    def __enter__(self) -> 'ClaimedDevice':
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)

    def claim(self, what: Any) -> Any:
        """Let tensors, or those of a module, claim to be on the device."""
        tensors = _tensors(what)
        if isinstance(what, nn.Module):
            tensors = [*what.parameters(), *what.buffers()]
            for module in what.modules():
                if hasattr(module, '_device'):  # MMEngine's preprocessors
                    module._device = CUDA
        for tensor in tensors:
            self._claimed.add(StorageWeakRef(tensor.untyped_storage()))
        return what

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor claims to be on the device."""
        return StorageWeakRef(tensor.untyped_storage()) in self._claimed

    def count(self, package: str) -> Counter:
        """The waits in a package by their places."""
        return Counter(
            f'{wait.where}{" (backward)" if wait.backward else ""}'
            for wait in self.waits
            if wait.where.startswith((f'{package}/', f'{package}:'))
        )

    def wait(self, why: str) -> None:
        """Record a wait at the place in the code that waits."""
        self.waits.append(Wait(why, *_find_place()))

    def mix(self, what: str) -> None:
        """Record an operation that PyTorch would refuse."""
        self.mixes.append(f'{what} in {_find_place()[0]}')

    @contextmanager
    def making(self, claimed: bool, checking: bool = True) -> Iterator[None]:
        """Let new tensors claim, or not claim, to be on the device."""
        before = self._new, self._checking
        self._new = claimed
        self._checking = checking and self._checking
        try:
            yield
        finally:
            self._new, self._checking = before


class _Functions(TorchFunctionMode):
    """Answers where tensors are, and moves them."""

    def __init__(self, device: ClaimedDevice):
        super().__init__()
        self._device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        device = self._device
        claimed = any(map(device.has, _tensors((args, kwargs))))
        if func in _ANSWERS and claimed:
            return _ANSWERS[func]
        if func in _FROM_DATA:
            return self._from_data(func, args, kwargs)
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._move(func, *args, **kwargs)
        if kwargs.get('device') is not None:
            with device.making(_is_cuda(kwargs['device']), checking=False):
                return func(*args, **{**kwargs, 'device': 'cpu'})
        if func is Tensor.__deepcopy__:
            with device.making(device.has(args[0]), checking=False):
                return func(*args, **kwargs)
        if func in (Tensor.numpy, Tensor.__array__) and claimed:
            device.mix('numpy of a CUDA tensor')
        if func is Tensor.tolist and claimed:
            device.wait('value')
        # A function makes tensors where its input is, but an index of Python
        # numbers comes from the CPU.
        indexing = func in (Tensor.__getitem__, Tensor.__setitem__)
        with device.making(claimed and not indexing):
            return func(*args, **kwargs)

    def _from_data(self, func, args, kwargs) -> Tensor:
        """``torch.tensor`` and the like."""
        device = self._device
        target = kwargs.pop('device', None)
        data = args[1 if func is Tensor.new_tensor else 0]
        cuda = any(map(device.has, _tensors(args[0])))
        if target is not None:
            cuda = _is_cuda(target)
        if isinstance(data, Tensor):
            moved = self._move(Tensor.to, data, CUDA if cuda else 'cpu')
            args = [moved if x is data else x for x in args]
            with device.making(cuda):
                return func(*args, **kwargs)
        with device.making(cuda, checking=False):
            out = func(*args, **kwargs)
        if cuda:
            device.wait('copy')
            out = device.claim(out.clone())
        return out

    def _move(self, func, tensor, *args, **kwargs) -> Tensor:
        """``Tensor.to``, ``Tensor.cpu`` and ``Tensor.cuda``."""
        device = self._device
        source = device.has(tensor)
        target, options = self._parse_to(func, source, args, kwargs)
        non_blocking = options.pop('non_blocking', False)
        if source == target:
            with device.making(target, checking=False):
                return tensor.to('cpu', **options)
        options['copy'] = True
        with device.making(target, checking=False):
            out = tensor.to('cpu', **options)
        # What the CPU reads has to be there.
        if source or not non_blocking:
            device.wait('copy')
        return out

    def _parse_to(self, func, source, args, kwargs) -> Tuple[bool, dict]:
        """Whether the target is the device, and what else is asked for."""
        if func is not Tensor.to:
            return func is Tensor.cuda, kwargs
        target, options = kwargs.pop('device', None), kwargs
        args = [*args, *([kwargs.pop('other')] if 'other' in kwargs else [])]
        flags = iter(('non_blocking', 'copy'))
        for value in args:
            if isinstance(value, Tensor):
                options['dtype'] = value.dtype
                target = CUDA if self._device.has(value) else 'cpu'
            elif isinstance(value, torch.dtype):
                options['dtype'] = value
            elif isinstance(value, bool):
                options[next(flags)] = value
            elif value is not None:
                target = value
        return source if target is None else _is_cuda(target), options


class _Operators(TorchDispatchMode):
    """Looks where the tensors of each operator claim to be."""

    def __init__(self, device: ClaimedDevice):
        super().__init__()
        self._device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = self._device
        with torch._C.DisableTorchFunction():
            claimed = device._new
            if device._checking:
                claimed = self._check(func, args, kwargs)
            out = func(*args, **kwargs)
            return device.claim(out) if claimed else out

    def _check(self, func, args, kwargs) -> bool:
        """Record mixes and waits; does what comes out claim to be there?"""
        device, operator = self._device, func.overloadpacket
        tensors = _tensors((args, kwargs))
        if not any(map(device.has, tensors)):
            return device._new and not tensors
        if operator is _aten.copy_:
            if device.has(args[0]) != device.has(args[1]):
                device.wait('copy')
            return device.has(args[0])
        if operator in _WAITING:
            device.wait(_WAITING[operator])
        if operator is _aten.repeat_interleave and not (
            kwargs.get('output_size') or len(args) > 2
        ):
            device.wait('size')
        if operator in _INDEXING:
            self._check_index(*args[:3])
            tensors = [args[0], *args[2:3]]
        number = torch.Tag.pointwise in func.tags or operator in _WITH_NUMBER
        # But nothing of the CPU can be written to.
        number &= not func._schema.is_mutable or device.has(tensors[0])
        if not all(
            device.has(t) or (number and t.dim() == 0) for t in tensors
        ):
            device.mix(
                f'{func} of '
                + ', '.join(
                    f'{"cuda" if device.has(t) else "cpu"} {tuple(t.shape)}'
                    for t in tensors
                )
            )
        return True

    def _check_index(
        self, x: Tensor, index: list, values: Optional[Tensor] = None
    ) -> None:
        device = self._device
        # A fill by a mask needs to know no size.
        fill = (
            values is not None
            and values.numel() == 1
            and not device.has(values)
        )
        for part in index:
            if part is None:
                continue
            if not device.has(part):
                device.wait('copy')
            elif part.dtype in (torch.bool, torch.uint8) and not fill:
                device.wait('size')


@contextmanager
def opaque(device: ClaimedDevice, module: ModuleType) -> Iterator[None]:
    """Let the functions of a module be compiled operators of the device.

    What they do inside, on the CPU, is not what they do on a device.
    """

    def wrap(name, function):
        def wrapped(*args, **kwargs):
            where = {device.has(t) for t in _tensors((args, kwargs))}
            if len(where) == 2:
                device.mix(name)
            if where == {True} and 'nms' in name:
                device.wait('size')
            with torch._C.DisableTorchFunction(), _disable_current_modes():
                out = function(*args, **kwargs)
            return device.claim(out) if True in where else out

        return wrapped

    functions = {
        name: value
        for name, value in vars(module).items()
        if callable(value) and not name.startswith('_')
    }
    for name, function in functions.items():
        setattr(module, name, wrap(name, function))
    try:
        yield
    finally:
        for name, function in functions.items():
            setattr(module, name, function)


def _is_cuda(device: Any) -> bool:
    """Of what may be passed as a device; ``None`` is the CPU."""
    if device is None:
        return False
    return isinstance(device, int) or torch.device(device).type == 'cuda'


def _tensors(tree: Any) -> List[Tensor]:
    return [x for x in tree_flatten(tree)[0] if isinstance(x, Tensor)]


def _find_place() -> Tuple[str, bool]:
    """File and function that do something, and whether it is backward."""
    frames = []
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == '_engine_run_backward':
            node = torch._C._current_autograd_node()
            stack = node.metadata.get('traceback_', []) if node else []
            lines = re.findall(
                r'File "(.+?)", line \d+, in (.+)', '\n'.join(stack)
            )
            return _name_place(lines[::-1]), True
        frames.append((code.co_filename, code.co_name))
        frame = frame.f_back
    return _name_place(frames), False


def _name_place(frames: List[Tuple[str, str]]) -> str:
    """The innermost frame that is not PyTorch's."""
    for path, function in frames:
        if path.startswith(_CALLED) or function in _HELPERS:
            continue
        file = Path(path)
        (name, *_) = [
            file.relative_to(folder.parent).as_posix()
            for folder in _FOLDERS
            if folder in file.parents
        ] or [file.name]
        return f'{name}:{function}'
    return 'nowhere'
