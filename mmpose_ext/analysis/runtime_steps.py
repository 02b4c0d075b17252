"""A config's network in several runtimes, to be timed."""

import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Optional, Tuple

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..errors import InputError
from .networks import Call, load_network

# Of torch; and of the exported file, with the format's suffix.
EAGER = ('eager', 'channels-last', 'compiled')
EXPORTED = {
    'onnxruntime': '.onnx',
    'openvino': '.xml',
    'openvino-int8': '.xml',
}
_CALIBRATION_BATCHES = 4


def load_runtime(
    runtime: str,
    cfg: Config,
    name: str = '',
    shape: Optional[Tuple[int, int]] = None,
    batch: int = 1,
    device: str = 'cpu',
) -> Call:
    """Build the network of a config for one of several runtimes.

    Weights and images are random, as in :func:`load_network`. All runtimes
    work on the same part of the model, from normalised images to what the
    head gives, without the decoding (see
    :class:`~mmpose_ext.deploy.network.PoseNetwork`), and those of exported
    files use as many threads as torch. 8-bit networks are quantised with
    random images: their latency is that of a calibrated one, their accuracy
    is not.

    Args:
        runtime (str): ``'eager'``; ``'channels-last'``, eager with weights
            and images in that memory format; ``'compiled'``, by
            ``torch.compile``; ``'onnxruntime'``; ``'openvino'``; or
            ``'openvino-int8'``.
        cfg (Config): Config of a pose estimator.
        name (str): What to call it. Defaults to the config's file name.
        shape (tuple[int, int], optional): Height and width of the images in
            pixels. Defaults to that of the config's test pipeline.
        batch (int): Number of images. Defaults to 1.
        device (str): Where it runs; exported files on the CPU only. Defaults
            to ``'cpu'``.

    Raises:
        InputError: The network cannot be exported or compiled, or the runtime
            is not installed.
    """
    from ..deploy.network import PoseNetwork

    name = name or str(cfg.filename)
    loaded = load_network(cfg, name, shape, batch, device)
    (images,) = loaded.args
    network = PoseNetwork(loaded.module).eval()
    if runtime in EXPORTED:
        if torch.device(device).type != 'cpu':
            raise InputError(
                f'{name}: exported files are timed on the CPU, got {device}'
            )
        network, images = _export(runtime, network, images), images.numpy()
    elif runtime == 'channels-last':
        network = network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    elif runtime == 'compiled':
        network = torch.compile(network)
    elif runtime != 'eager':
        known = ', '.join([*EAGER, *EXPORTED])
        raise InputError(f'{name}: expected one of {known}, got {runtime}')
    call = Call(name, network, (images,), images=batch)
    call.check(f'run {type(loaded.module).__name__} in {runtime}')
    return call


def _export(runtime: str, network: nn.Module, images: Tensor) -> Any:
    """Export a network to a file that is gone when this returns."""
    from ..deploy.formats import export_network, quantize
    from ..deploy.runtimes import open_network

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f'network{EXPORTED[runtime]}')
        # A batch of one would be taken for a constant.
        export_network(network, images.repeat(2, 1, 1, 1), path)
        if runtime == 'openvino-int8':
            whole, path = path, Path(folder, 'int8.xml')
            batches = [
                torch.rand_like(images[:1]).numpy()
                for _ in range(_CALIBRATION_BATCHES)
            ]
            with redirect_stdout(sys.stderr):  # Its progress bar.
                quantize(whole, path, batches)
        return open_network(path, num_threads=torch.get_num_threads())
