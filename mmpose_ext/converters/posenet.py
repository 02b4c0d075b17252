"""Read PoseNet of TensorFlow.js as our MobileNetV1."""

import base64
import math
import os.path as osp
from pathlib import Path
from typing import Any, Dict, Iterable, List, Tuple

import numpy as np
import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from ..arguments import finite, one_of, positive_int
from ..checks import check_file, read_json
from ..deploy.runtimes import check_no_link
from ..errors import InputError
from ..models.backbones import MobileNetV1

# The order of PyTorch's axes in kernels of (H, W, in, out), or for depthwise
# convolutions of (H, W, C, 1).
_FULL, _DEPTHWISE = (3, 2, 0, 1), (2, 3, 0, 1)
_CONVS = {
    'Conv2D': _FULL,
    '_FusedConv2D': _FULL,
    'DepthwiseConv2dNative': _DEPTHWISE,
    'FusedDepthwiseConv2dNative': _DEPTHWISE,
}
# What a convolution does behind itself where these nodes are fused with it.
_BEHIND = ('BiasAdd', 'Relu6')
_CODED = {base64.b64encode(op.encode()).decode(): op for op in _BEHIND}
_DTYPES = dict(
    float32='<f4', float16='<f2', int32='<i4', uint8='u1', uint16='<u2'
)

Convs = List[Tuple[Tensor, Tensor]]
Weights = Dict[str, Tuple[np.ndarray, List[int]]]


def read_posenet(path: str, output_stride: int = 32) -> MobileNetV1:
    """Read the trunk of a graph model of TensorFlow.js.

    It may have any width. Weights that were quantised to half precision, 8 or
    16 bits are read as TensorFlow.js does: times their scale, plus their
    minimum. The batch norms must be folded, as PoseNet's are, into
    convolutions with a bias and ReLU6, as one node or three. Strides and
    dilations of the graph are not looked at.

    Its norms here add the bias, with a mean of 0 and a variance of 1. The
    maps are right as long as they stay so, with ``norm_eval=True``; for a
    training with the statistics of batches, call :func:`calibrate_norms`.

    Args:
        path (str): The ``.json`` of the model; the files of weights that it
            names lie beside it.
        output_stride (int): That of the MobileNetV1. Defaults to 32, with
            which its maps are those of PoseNet.

    Returns:
        MobileNetV1: Its first four stages, with ReLU6, in single precision.
        Images are RGB, from -1 to 1.

    Raises:
        InputError: A file is missing or something else, names files in other
            folders, or has other content.
        ValueError: ``output_stride`` is not 4, 8, 16 or 32.
    """
    what = f"graph model '{path}'"
    content = read_json(path, 'graph model')
    weights: Weights = {}
    for i, group in enumerate(_get(content, 'weightsManifest', list, what)):
        where = f'{what}, weightsManifest[{i}]'
        weights.update(_read_group(group, path, where))
    topology = _get(content, 'modelTopology', dict, what)
    nodes = _get(topology, 'node', list, f'{what}, modelTopology')
    return _build(_follow(nodes, weights, what), output_stride, what)


def _get(part: Any, key: str, kind: type, where: str) -> Any:
    """What an object has under a key, if it is of a kind."""
    found = part.get(key) if isinstance(part, dict) else None
    if not isinstance(found, kind):
        expected = dict(list='a list', dict='an object', str='a string')
        got = 'none' if found is None else type(found).__name__
        raise InputError(
            f'{where}: expected {expected[kind.__name__]} under {key!r}, as '
            f'graph models of TensorFlow.js have it, got {got}'
        )
    return found


def _read_group(group: Any, path: str, where: str) -> Weights:
    """Arrays that lie behind each other in some files."""
    entries = [
        _read_entry(entry, f'{where}.weights[{i}]')
        for i, entry in enumerate(_get(group, 'weights', list, where))
    ]
    files: List[Path] = []
    for name in _get(group, 'paths', list, where):
        file = Path(osp.dirname(path), str(name))
        if file.name != name or file in files:
            raise InputError(
                f"{where}: {name!r} under 'paths' must be the name of a file "
                'beside it, and be there once'
            )
        check_file(str(file), 'file of weights')
        check_no_link(file, path)
        files.append(file)
    # Before anything of that size is read or made.
    size = sum(file.stat().st_size for file in files)
    expected = sum(
        dtype.itemsize * math.prod(s) for _, s, dtype, *_ in entries
    )
    if size != expected:
        raise InputError(
            f'{where}: its files {", ".join(file.name for file in files)} '
            f'have {size} bytes, expected the {expected} of its weights'
        )
    data = b''.join(file.read_bytes() for file in files)
    weights, start = {}, 0
    for i, (name, shape, dtype, scale, low) in enumerate(entries):
        array = np.frombuffer(data, dtype, math.prod(shape), start)
        start += array.nbytes
        with np.errstate(all='ignore'):
            array = (array.astype(float) * scale + low).astype(np.float32)
        if not np.isfinite(array).all():
            raise InputError(
                f'{where}.weights[{i}]: {name!r} has values that are no '
                'finite numbers in single precision'
            )
        weights[name] = array, shape
    return weights


def _read_entry(
    entry: Any, where: str
) -> Tuple[str, List[int], np.dtype, float, float]:
    """Name, shape, type in the file, scale and minimum of an array."""
    name = _get(entry, 'name', str, where)
    shape = _get(entry, 'shape', list, where)
    stored = entry
    if 'quantization' in entry:
        stored = _get(entry, 'quantization', dict, where)
    try:
        shape = [positive_int(f'shape[{i}]', n) for i, n in enumerate(shape)]
        dtype = _DTYPES[one_of('dtype', stored.get('dtype'), _DTYPES)]
        # Halves have neither.
        scale = float(finite('scale', stored.get('scale', 1)))
        low = float(finite('min', stored.get('min', 0)))
    except ValueError as e:
        raise InputError(f'{where}: {name!r}: {e}') from e
    return name, shape, np.dtype(dtype), scale, low


def _follow(nodes: list, weights: Weights, what: str) -> Convs:
    """Weight and bias of the convolutions from the image on.

    As far as each one reads what the one before it has written.
    """
    readers: Dict[str, List[Tuple[str, dict]]] = {}
    images = []
    for i, node in enumerate(nodes):
        name = _get(node, 'name', str, f'{what}, node {i}')
        where = f'{what}, node {name!r}'
        op = _get(node, 'op', str, where)
        if op == 'Placeholder':
            images.append(name)
        elif op in _CONVS or op in _BEHIND:
            inputs = _get(node, 'input', list, where)
            if not inputs or not all(isinstance(x, str) for x in inputs):
                raise InputError(
                    f'{where}: expected the names of its maps and weights '
                    f"under 'input', got {inputs}"
                )
            readers.setdefault(inputs[0], []).append((where, node))
    if len(images) != 1:
        raise InputError(
            f'{what}: expected one Placeholder, for the image, among its '
            f'nodes, got {len(images)}'
        )
    steps, name = [], images[0]
    # Where the trunk ends, several read the same maps. A graph that comes
    # back to a node finds no reader there.
    while len(readers.get(name, ())) == 1:
        ((where, node),) = readers.pop(name)
        ops = [node['op'], *_fused(node)]
        names = node['input'][1:] + [''] * len(ops)
        steps += [(op, where, names.pop(0)) for op in ops]
        name = node['name']
    convs: Convs = []
    # Three steps each.
    for (op, where, kernel), *behind in zip(*[iter(steps)] * 3):
        if op not in _CONVS or tuple(op for op, *_ in behind) != _BEHIND:
            break
        weight = _tensor(weights, kernel, 4, where)
        weight = weight.permute(_CONVS[op]).contiguous()
        _, where, name = behind[0]
        bias = _tensor(weights, name, 1, where)
        if len(weight) != len(bias):
            raise InputError(
                f'{where}: the kernel {kernel!r} has {len(weight)} outputs, '
                f'the bias {name!r} {len(bias)}'
            )
        convs.append((weight, bias))
    if not convs:
        raise InputError(
            f'{what}: expected a convolution with bias and ReLU6, alone, to '
            f'read the image {images[0]!r}'
        )
    return convs


def _fused(node: Any) -> List[str]:
    """What a convolution does behind itself."""
    for key in ('attr', 'fused_ops', 'list', 's'):
        node = node.get(key) if isinstance(node, dict) else None
    names = node if isinstance(node, list) else []
    return [_CODED.get(str(name), '?') for name in names]


def _tensor(weights: Weights, name: str, dims: int, where: str) -> Tensor:
    array, shape = weights.get(name, (None, []))
    if len(shape) != dims:
        got = 'is none of them' if array is None else f'has the shape {shape}'
        raise InputError(
            f'{where}: expected weights of {dims} dimensions as an input, but '
            f'{name!r} {got}'
        )
    return torch.from_numpy(array.reshape(shape))


@torch.no_grad()
def _build(convs: Convs, output_stride: int, what: str) -> MobileNetV1:
    """The network of these convolutions, whose norms add the bias."""
    channels = len(convs[0][0])
    # Without memory, until all shapes are known to fit.
    with torch.device('meta'):
        # The last layers of PoseNet are narrower than those of a MobileNet.
        model = MobileNetV1(
            widen_factor=channels / 32,
            out_indices=(3,),
            output_stride=output_stride,
            act_cfg=dict(type='ReLU6'),
        )
    modules = [m for m in model.modules() if isinstance(m, ConvModule)]
    if len(convs) < len(modules):
        raise InputError(
            f'{what} has {len(convs)} convolutions with ReLU6 one behind the '
            f'other, expected at least {len(modules)}, of a MobileNetV1'
        )
    for i, (module, (weight, _)) in enumerate(zip(modules, convs)):
        expected = module.conv.weight.shape
        if weight.shape != expected:
            raise InputError(
                f'{what}: convolution {i} from the image on has a weight of '
                f'shape {tuple(weight.shape)}, expected {tuple(expected)} of '
                f'a MobileNetV1 with {channels} channels at first'
            )
    model.to_empty(device='cpu')
    for module, (weight, bias) in zip(modules, convs):
        module.conv.weight.copy_(weight)
        module.bn.reset_parameters()
        module.bn.weight.fill_(math.sqrt(1 + module.bn.eps))
        module.bn.bias.copy_(bias)
    return model


@torch.no_grad()
def calibrate_norms(model: nn.Module, images: Iterable[Tensor]) -> None:
    """Give batch norms the statistics of images, without changing any map.

    A training with the statistics of batches then starts from about the same
    maps, as batches have about these statistics, if its images have the same
    size and its network the same strides.

    Args:
        model (nn.Module): The network, changed in place.
        images (Iterable[Tensor]): Its inputs, of shape (N, 3, H, W), of any
            sizes.

    Raises:
        ValueError: If there are no images.
    """
    sums: Dict[nn.Module, tuple] = {}

    def add(norm: nn.Module, args: tuple) -> None:
        x = args[0].double()
        count, total, squares = sums.get(norm, (0, 0, 0))
        sums[norm] = (
            count + x.numel() // x.shape[1],
            total + x.sum((0, 2, 3)),
            squares + x.square().sum((0, 2, 3)),
        )

    handles = [
        module.register_forward_pre_hook(add)
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    training = model.training
    model.eval()
    try:
        for image in images:
            model(image)
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    if not sums:
        raise ValueError('images must hold at least one, got none')
    for norm, (count, total, squares) in sums.items():
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        # What it multiplies with and adds stays the same.
        factor = norm.weight / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias - factor * norm.running_mean
        norm.weight.copy_(factor * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + factor * mean)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
