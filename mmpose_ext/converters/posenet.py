"""Read PoseNet of TensorFlow.js, and give our MobileNetV1 its weights."""

import base64
import math
import os.path as osp
from typing import Any, Dict, List, Tuple

import numpy as np
import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from ..checks import check_file, read_json
from ..errors import InputError

# TensorFlow's operators, and what fused ones are called in a graph.
_CONVS = {
    '_FusedConv2D': False,
    'FusedDepthwiseConv2dNative': True,
}
_DTYPES = dict(
    float32='<f4', float16='<f2', uint8='u1', uint16='<u2', int32='<i4'
)


def read_posenet(path: str) -> List[Tuple[Tensor, Tensor]]:
    """Read the convolutions of a graph model of TensorFlow.js.

    Weights that were quantised to half precision, 8 or 16 bits are read as
    TensorFlow.js does: as single precision, times their scale, plus their
    minimum. Of graphs, those are read whose batch norms are folded into
    fused convolutions with a bias, as PoseNet's are.

    Args:
        path (str): The ``.json`` of the model; the files of weights that it
            names lie beside it.

    Returns:
        list[tuple[Tensor, Tensor]]: Weight, in PyTorch's order, and bias of
        each convolution, from the image on, as far as each one reads what
        the one before it wrote.

    Raises:
        InputError: A file is missing or something else, names files in other
            folders, or has other content.
    """
    what = f"graph model '{path}'"
    content = read_json(path, 'graph model')
    try:
        nodes = {n['name']: n for n in content['modelTopology']['node']}
        groups = [
            (list(group['paths']), list(group['weights']))
            for group in content['weightsManifest']
        ]
        weights: Dict[str, np.ndarray] = {}
        for paths, entries in groups:
            data = b''.join(_read_binary(path, name) for name in paths)
            weights.update(_split(data, entries, what))
        return _follow(nodes, weights, what)
    except (KeyError, TypeError, AttributeError, IndexError) as e:
        raise InputError(
            f'{what} is no graph model of TensorFlow.js as PoseNet is '
            f'({type(e).__name__}: {e})'
        ) from e


def _read_binary(path: str, name: Any) -> bytes:
    if not isinstance(name, str) or osp.basename(name) != name or not name:
        raise InputError(
            f"graph model '{path}': {name!r} under 'paths' must be a file "
            'beside it'
        )
    file = osp.join(osp.dirname(path), name)
    check_file(file, 'file of weights')
    with open(file, 'rb') as f:
        return f.read()


def _split(data: bytes, entries: list, what: str) -> Dict[str, np.ndarray]:
    """Arrays that lie behind each other."""
    arrays, start = {}, 0
    for entry in entries:
        name, shape = entry['name'], tuple(entry['shape'])
        quantised = entry.get('quantization', {})
        stored = quantised.get('dtype', entry['dtype'])
        if stored not in _DTYPES or not all(
            type(n) is int and n >= 0 for n in shape
        ):
            raise InputError(
                f'{what}: {name!r} is of type {stored!r} and shape '
                f'{list(shape)}; the types that are read are '
                f'{", ".join(_DTYPES)}'
            )
        dtype, count = np.dtype(_DTYPES[stored]), math.prod(shape)
        end = start + count * dtype.itemsize
        if end > len(data):
            raise InputError(
                f'{what}: its files of weights have {len(data)} bytes, but '
                f'{name!r} ends at {end}'
            )
        array = np.frombuffer(data, dtype, count, start).astype(np.float32)
        if 'scale' in quantised:
            scale, low = quantised['scale'], quantised['min']
            array = array * np.float32(scale) + np.float32(low)
        if not np.isfinite(array).all():
            raise InputError(f'{what}: {name!r} has values that are no number')
        arrays[name] = array.reshape(shape)
        start = end
    if start != len(data):
        raise InputError(
            f'{what}: its files of weights have {len(data)} bytes, expected '
            f'{start}'
        )
    return arrays


def _follow(
    nodes: dict, weights: Dict[str, np.ndarray], what: str
) -> List[Tuple[Tensor, Tensor]]:
    """The convolutions from the image on."""
    readers: Dict[str, list] = {}
    for node in nodes.values():
        if node['op'] in _CONVS:
            readers.setdefault(node['input'][0], []).append(node)
    (name,) = (n for n, node in nodes.items() if node['op'] == 'Placeholder')
    convs = []
    # Where the trunk ends, several read the same maps.
    while len(readers.get(name, ())) == 1:
        (node,) = readers.pop(name)
        _, kernel, bias = node['input'][:3]
        fused = node['attr']['fused_ops']['list']['s']
        if [base64.b64decode(s) for s in fused] != [b'BiasAdd', b'Relu6']:
            break
        array = weights[kernel]
        # Depthwise: (H, W, C, 1), else (H, W, in, out).
        order = (2, 3, 0, 1) if _CONVS[node['op']] else (3, 2, 0, 1)
        convs.append(
            (
                torch.from_numpy(array.transpose(order).copy()),
                torch.from_numpy(weights[bias].copy()),
            )
        )
        name = node['name']
    if not convs:
        raise InputError(f'{what}: no convolution with ReLU6 reads its image')
    return convs


def fill_mobilenet(
    model: nn.Module, convs: List[Tuple[Tensor, Tensor]]
) -> None:
    """Give a MobileNetV1 weights whose batch norms were folded.

    Its norms become the addition of the bias: with a mean of 0 and a variance
    of 1. Such a network gives the right maps as long as they stay so, with
    ``norm_eval=True``; in a training with the statistics of batches, call
    :func:`calibrate_norms` first.

    Args:
        model (MobileNetV1): The network.
        convs (list[tuple[Tensor, Tensor]]): Weight and bias of at least as
            many convolutions as it has, from the image on.

    Raises:
        InputError: If there are fewer, or shapes differ.
    """
    modules = [m for m in model.modules() if isinstance(m, ConvModule)]
    if len(convs) < len(modules):
        raise InputError(
            f'PoseNet has {len(convs)} convolutions, the backbone '
            f'{len(modules)}'
        )
    with torch.no_grad():
        for i, (module, (weight, bias)) in enumerate(zip(modules, convs)):
            if weight.shape != module.conv.weight.shape:
                raise InputError(
                    f'convolution {i} of PoseNet has the shape '
                    f'{tuple(weight.shape)}, that of the backbone '
                    f'{tuple(module.conv.weight.shape)}'
                )
            module.conv.weight.copy_(weight)
            _set_norm(module.bn, torch.zeros(()), torch.ones(()), bias)


def calibrate_norms(model: nn.Module, images: List[Tensor]) -> None:
    """Give norms the statistics of images, without changing any map.

    A training with the statistics of batches then starts from about the same
    maps, as batches have about these statistics.

    Args:
        model (MobileNetV1): As :func:`fill_mobilenet` has filled it.
        images (list[Tensor]): Inputs of shape (N, 3, H, W), normalised, of
            any sizes.
    """
    sums: Dict[nn.Module, list] = {}

    def add(norm: nn.Module, args: tuple, output: Tensor) -> None:
        x = args[0].double()
        values = sums.setdefault(norm, [0, 0, 0])
        values[0] += x.numel() // x.shape[1]
        values[1] = values[1] + x.sum(dim=(0, 2, 3))
        values[2] = values[2] + x.square().sum(dim=(0, 2, 3))

    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    handles = [norm.register_forward_hook(add) for norm in norms]
    mode = model.training
    model.eval()
    with torch.no_grad():
        for image in images:
            model(image)
        for norm in norms:
            count, total, squares = sums[norm]
            mean = total / count
            variance = (squares / count - mean.square()).clamp(min=0)
            _set_norm(norm, mean, variance, norm.bias.clone())
    for handle in handles:
        handle.remove()
    model.train(mode)


def _set_norm(
    norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, bias: Tensor
) -> None:
    """Statistics of a norm that adds ``bias`` and does nothing else."""
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(bias + mean)
