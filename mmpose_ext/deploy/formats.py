"""Networks written as ONNX or OpenVINO files."""

import copy
import errno
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union
from unittest import mock

import numpy as np
import torch
from mmpose.models.utils import ops
from torch import Tensor, nn

from ..engine.folding import fold_batch_norms
from ..errors import InputError
from ..files import write_atomic
from .metadata import KEY
from .runtimes import SEAL, SUFFIXES, UNSEALED, openvino_core, require, seal

_AXES = ('batch', 'channels', 'height', 'width')


def export_network(
    network: nn.Module,
    images: Tensor,
    path: Union[str, Path],
    metadata: str = '',
    multiples: Optional[Mapping[int, int]] = None,
) -> None:
    """Write a network as a file.

    Its norms become part of the convolutions before them.

    Args:
        network (nn.Module): From a tensor to a tensor or a tuple of such, in
            evaluation mode.
        images (Tensor): An input of it, of shape (B, C, H, W), B at least 2.
        path (str | Path): The file: ``.onnx``, or ``.xml`` for OpenVINO,
            whose weights go to a ``.bin`` beside it.
        metadata (str): Text that the file carries. Defaults to ``''``.
        multiples (Mapping[int, int], optional): The axes of the input that may
            have another length than in ``images``, and what the length is a
            multiple of. Defaults to ``None``, which is ``{0: 1}``, any
            batch.

    Raises:
        InputError: The network cannot be exported, or a package is missing.
    """
    path = Path(path)
    check_format(path)
    network = copy.deepcopy(network).eval()
    # ONNX's own optimisation leaves norms whose input's size is asked for.
    fold_batch_norms(network, lambda: network(images))
    program = _to_onnx(network, images, dict(multiples or {0: 1}))
    program.model.metadata_props.update({KEY: metadata, SEAL: UNSEALED})
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        onnx_file = Path(folder, 'network.onnx')
        program.save(str(onnx_file))
        if path.suffix == '.onnx':
            write_atomic(path, seal(onnx_file.read_bytes()))
        else:
            model = openvino_core().read_model(str(onnx_file))
            _save_openvino(model, path, metadata)


def quantize(
    path: Union[str, Path],
    out: Union[str, Path],
    inputs: Sequence[np.ndarray],
    metadata: str = '',
) -> None:
    """Write an OpenVINO network with 8-bit weights and activations.

    By OpenVINO's own post-training quantisation (NNCF).

    Args:
        path (str | Path): The ``.xml`` file of the network.
        out (str | Path): The ``.xml`` file to write.
        inputs (Sequence[np.ndarray]): Inputs of the network, from which the
            ranges of its activations are estimated.
        metadata (str): Text that the file carries. Defaults to ``''``.

    Raises:
        InputError: There are no inputs, or a package is missing.
    """
    if not len(inputs):
        raise InputError('quantisation needs inputs, got none')
    nncf = require('nncf')
    model = openvino_core().read_model(str(path))
    # The range of all inputs, not NNCF's average of each one's: peaks of
    # heatmaps are rare and must not be cut off.
    ranges = require('nncf.quantization.range_estimator')
    quantized = nncf.quantize(
        model,
        nncf.Dataset(list(inputs)),
        subset_size=len(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=(
                ranges.RangeEstimatorParametersSet.MINMAX
            )
        ),
    )
    _save_openvino(quantized, Path(out), metadata)


def check_format(path: Union[str, Path]) -> None:
    """Check that a file can be written in the format of its name.

    Args:
        path (str | Path): The file.

    Raises:
        InputError: The suffix is of no format, or a package is missing.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"cannot export to '{path}': expected a name that ends in "
            f'{" or ".join(SUFFIXES)}'
        )
    for name in ('onnx', 'onnxscript'):
        require(name)
    require('onnxruntime' if path.suffix == '.onnx' else 'openvino')


def _to_onnx(network: nn.Module, images: Tensor, multiples: Dict) -> Any:
    dims = {}
    for axis, multiple in multiples.items():
        dim = torch.export.Dim(_AXES[axis])
        dims[axis] = dim * multiple if multiple > 1 else dim
    try:
        with warnings.catch_warnings(), torch.no_grad(), _sizes_stay_open():
            warnings.simplefilter('ignore')
            program = torch.onnx.export(
                network,
                (images,),
                dynamo=True,
                dynamic_shapes=(dims,),
                input_names=['images'],
                verbose=False,
            )
    except InputError:
        raise
    except Exception as e:
        raise InputError(
            f'the network cannot be exported to ONNX: {_reason(network, e)}'
        ) from e
    # Where in the source each node comes from: the paths of this machine.
    for node in program.model.graph:
        node.metadata_props.clear()
    return program


def _reason(network: nn.Module, error: Exception) -> str:
    opaque = {
        type(module).__name__
        for module in network.modules()
        if type(module).__module__.startswith('mmcv.ops')
    }
    if opaque:
        return (
            f'its layers {", ".join(sorted(opaque))} call operators of MMCV, '
            "which torch's exporter cannot trace"
        )
    cause = error.__cause__ or error
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)


def _sizes_stay_open() -> Any:
    """MMPose's ``resize`` makes integers of sizes, which would fix them."""
    return mock.patch.object(ops, 'int', lambda size: size, create=True)


def _save_openvino(model: Any, path: Path, metadata: str) -> None:
    """Write both files, the one that names the other last."""
    openvino = require('openvino')
    model.set_rt_info(metadata, [KEY])
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder, path.name)
        weights = draft.with_suffix('.bin')

        def save() -> None:
            try:
                openvino.save_model(model, str(draft), compress_to_fp16=False)
            except RuntimeError as e:
                # It does not say why a stream of C++ has failed.
                reason = 'OpenVINO cannot save it, is the disk full?'
                raise OSError(errno.EIO, reason, str(path)) from e

        save()
        # Detects weights that are cut off or of another file.
        checksum = zlib.crc32(weights.read_bytes())
        model.set_rt_info(str(checksum), [f'{KEY}_bin'])
        save()
        write_atomic(path.with_suffix('.bin'), weights.read_bytes())
        write_atomic(path, draft.read_bytes())


def part_path(path: Union[str, Path], name: str) -> Path:
    """The file of a part of a model, beside that of its network.

    Args:
        path (str | Path): The network's file.
        name (str): The part's name.
    """
    path = Path(path)
    return path.with_name(f'{path.stem}.{name}{path.suffix}')


def all_files(path: Union[str, Path], parts: Sequence[str]) -> List[Path]:
    """All files of an exported model.

    Args:
        path (str | Path): The network's file.
        parts (Sequence[str]): Names of its parts.
    """
    files = [Path(path), *(part_path(path, name) for name in parts)]
    if Path(path).suffix == '.xml':
        files += [file.with_suffix('.bin') for file in files]
    return files
