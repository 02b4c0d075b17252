"""Tensors that claim to be on a CUDA device, over data of the CPU.

What is claimed belongs to a storage, so that it goes with views, with what
autograd saves and with gradients. Two modes watch what is done: a function
mode answers what the code asks a tensor (``device``, ``is_cuda``) and does
what moves data between devices; a dispatch mode sees every operator, those
inside of PyTorch's functions and of the backward pass included.
"""

import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Optional

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device('cuda', 0)
_TORCH = str(Path(torch.__file__).parent)
# Who calls this waits, not the helper itself.
_HELPERS = ('mmpose/utils/tensor_utils.py',)
_PACKAGES = ('mmpose_ext', 'mmpose', 'mmdet', 'mmengine', 'mmcv')

_aten = torch.ops.aten
# They tell the host a value, or how large their output is.
_WAITING = {
    _aten._local_scalar_dense: 'value',
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
_WITH_NUMBERS = {
    *_INDEXING,
    _aten.masked_fill,
    _aten.masked_fill_,
    _aten.fill_,
    _aten.fill,
}
_GETTERS = {
    Tensor.device.__get__: lambda claimed: CUDA,
    Tensor.is_cuda.__get__: lambda claimed: True,
    Tensor.is_cpu.__get__: lambda claimed: False,
    Tensor.get_device: lambda claimed: 0,
}
_FROM_DATA = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}


class Wait(NamedTuple):
    """Why and where the host waited for the device."""

    why: str
    where: str


class ClaimedDevice:
    """While it is active, tensors may claim to be on ``cuda:0``.

    Attributes:
        mixes (list[str]): Operations that PyTorch would have refused, because
            they mix tensors of both devices.
        waits (list[Wait]): What would have waited for the device.
    """

    def __init__(self):
        self.mixes: List[str] = []
        self.waits: List[Wait] = []
        self._claimed = set()
        # What new tensors that no claimed one goes into are: None, as asked.
        self._new: Optional[bool] = None
        self._moving = False
        self._modes = _Functions(self), _Operators(self)

    def __enter__(self) -> 'ClaimedDevice':
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)

    def claim(self, what: Any) -> Any:
        """Let tensors, or a module's, claim to be on the device."""
        if isinstance(what, nn.Module):
            for module in what.modules():
                if hasattr(module, '_device'):  # MMEngine's preprocessors
                    module._device = CUDA
            what_ = [*what.parameters(), *what.buffers()]
        else:
            what_ = _tensors(what)
        for tensor in what_:
            self._claimed.add(StorageWeakRef(tensor.untyped_storage()))
        return what

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor claims to be on the device."""
        return StorageWeakRef(tensor.untyped_storage()) in self._claimed

    def count(self, package: str) -> Counter:
        """The waits in files of a package (or ``backward``), by place."""
        return Counter(
            wait.where
            for wait in self.waits
            if wait.where.split('/')[0].split(':')[0] == package
        )

    def wait(self, why: str) -> None:
        """Record a wait at the place in the code that waits."""
        self.waits.append(Wait(why, _where()))

    def mix(self, what: str) -> None:
        """Record an operation that the device would have refused."""
        self.mixes.append(f'{what} in {_where()}')

    @contextmanager
    def creating(self, claimed: Optional[bool], moving: bool = False):
        """Let new tensors claim, or not claim, to be on the device."""
        before = self._new, self._moving
        self._new, self._moving = claimed, moving
        try:
            yield
        finally:
            self._new, self._moving = before


class _Functions(TorchFunctionMode):
    """Answers about devices, and moves between them."""

    def __init__(self, device: ClaimedDevice):
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        device = self.device
        if func in _GETTERS:
            own = device.has(args[0])
            return _GETTERS[func](own) if own else func(*args, **kwargs)
        if func in _FROM_DATA:
            return self._from_data(func, args, kwargs)
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._move(func, args, kwargs)
        if func in (Tensor.numpy, Tensor.__array__) and device.has(args[0]):
            device.mix('numpy of a CUDA tensor')
        if func is Tensor.tolist and device.has(args[0]):
            device.wait('value')
        asked = kwargs.get('device')
        if asked is not None:
            kwargs['device'] = 'cpu'
            with device.creating(_is_cuda(asked), moving=True):
                return func(*args, **kwargs)
        if func in (Tensor.__deepcopy__, Tensor.new):
            with device.creating(device.has(args[0]), moving=True):
                return (
                    device.claim(func(*args, **kwargs))
                    if (device.has(args[0]))
                    else func(*args, **kwargs)
                )
        # What a function makes for itself it makes where its input is; but
        # Python's numbers in an index come from the CPU.
        new = None
        if func not in (Tensor.__getitem__, Tensor.__setitem__):
            new = any(map(device.has, _tensors((args, kwargs)))) or None
        with device.creating(new):
            return func(*args, **kwargs)

    def _from_data(self, func, args, kwargs):
        device, data = self.device, args[-1] if args else kwargs['data']
        asked = kwargs.pop('device', None)
        if isinstance(data, Tensor) and func is not Tensor.new_tensor:
            out = self._move(Tensor.to, (data,), dict(device=asked))
            return func(out, *args[1:], **kwargs)
        cuda = _is_cuda(asked)
        if func is Tensor.new_tensor and asked is None:
            cuda = device.has(args[0])
        with device.creating(cuda, moving=True):
            out = func(*args, **kwargs)
        if cuda:
            device.wait('copy')
            out = device.claim(out.clone())
        return out

    def _move(self, func, args, kwargs):
        device, (tensor, *rest) = self.device, args
        source = device.has(tensor)
        target, other = source, {}
        if func is Tensor.to:
            target, other = _parse_to(device, source, rest, kwargs)
        else:
            target = func is Tensor.cuda
        with device.creating(target, moving=True):
            if source == target:
                return tensor.to(**other)
            out = tensor.to(**{**other, 'copy': True})
        if source or not kwargs.get('non_blocking', False):
            device.wait('copy')
        return device.claim(out) if target else out


class _Operators(TorchDispatchMode):
    """Checks where the tensors of each operator claim to be."""

    def __init__(self, device: ClaimedDevice):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            device = self.device
            if device._moving:
                out = func(*args, **kwargs)
                claimed = device._new
            else:
                claimed = self._check(func, args, kwargs)
                out = func(*args, **kwargs)
            if claimed:
                device.claim(out)
        return out

    def _check(self, func, args, kwargs) -> bool:
        """Whether what comes out claims to be on the device."""
        device, packet = self.device, func.overloadpacket
        tensors = _tensors((args, kwargs))
        claimed = [device.has(t) for t in tensors]
        if not any(claimed):
            return bool(device._new and not tensors)
        if packet is _aten.copy_:
            if claimed[0] != claimed[1]:
                device.wait('copy')
            return claimed[0]
        if packet in _WAITING:
            device.wait(_WAITING[packet])
        if packet in _INDEXING:
            index = [t for t in args[1] if t is not None]
            fill = len(args) > 2 and not device.has(args[2])
            fill = fill and args[2].numel() == 1  # becomes a masked_fill
            for t in index:
                if not device.has(t):
                    device.wait('copy')
                elif t.dtype in (torch.bool, torch.uint8) and not fill:
                    device.wait('size')
            tensors = [args[0], *args[2:3]]
            claimed = [device.has(t) for t in tensors]
        if (
            packet is _aten.repeat_interleave
            and kwargs.get('output_size', args[2] if len(args) > 2 else None)
            is None
        ):
            device.wait('size')
        # A number of the CPU may go with tensors of the device where each
        # cell is computed by itself.
        alone = torch.Tag.pointwise in func.tags or packet in _WITH_NUMBERS
        if not all(
            c or (alone and t.dim() == 0) for c, t in zip(claimed, tensors)
        ):
            shapes = ', '.join(
                f'{"cuda" if c else "cpu"} {tuple(t.shape)}'
                for c, t in zip(claimed, tensors)
            )
            device.mix(f'{func} of {shapes}')
        return True


def _parse_to(device, source, rest, kwargs):
    """Where ``Tensor.to`` moves a tensor, and its other arguments."""
    names = {k: v for k, v in kwargs.items() if k != 'non_blocking'}
    target = names.pop('device', None)
    for value in rest:
        if isinstance(value, Tensor):
            names['dtype'] = value.dtype
            target = CUDA if device.has(value) else 'cpu'
        elif isinstance(value, torch.dtype):
            names['dtype'] = value
        elif isinstance(value, (str, int, torch.device)) and not isinstance(
            value, bool
        ):
            target = value
    if 'other' in names:
        other = names.pop('other')
        names['dtype'] = other.dtype
        target = CUDA if device.has(other) else 'cpu'
    names.setdefault('dtype', None)
    if names['dtype'] is None:
        del names['dtype']
    if not names:
        names['device'] = 'cpu'
    return source if target is None else _is_cuda(target), names


def _is_cuda(device: Any) -> bool:
    if device is None:
        return False
    return isinstance(device, int) or torch.device(device).type == 'cuda'


def _tensors(tree: Any) -> List[Tensor]:
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor)]


def _where() -> str:
    """File and function of the innermost code that is not PyTorch's."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path == __file__ or path.startswith(_TORCH):
            if frame.f_code.co_name == '_engine_run_backward':
                return 'backward'
        elif not path.endswith(_HELPERS):
            parts = Path(path).parts
            start = next(
                (
                    i
                    for i in range(len(parts) - 1, -1, -1)
                    if parts[i] in _PACKAGES
                ),
                len(parts) - 1,
            )
            return f'{"/".join(parts[start:])}:{frame.f_code.co_name}'
        frame = frame.f_back
    return 'nowhere'


@contextmanager
def opaque_extensions(device: ClaimedDevice, module: Any) -> Iterator[None]:
    """Let compiled functions of a module pass for operators of the device.

    What they do inside, on the CPU, is not what they would do on the device.
    """

    def wrap(name, function):
        def wrapped(*args, **kwargs):
            claimed = {device.has(t) for t in _tensors((args, kwargs))}
            if len(claimed) == 2:
                device.mix(name)
            if claimed == {True} and 'nms' in name:
                device.wait('size')
            with device.creating(True in claimed, moving=True):
                out = function(*args, **kwargs)
            return device.claim(out) if True in claimed else out

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
