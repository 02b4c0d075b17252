"""The same test in less time."""

import copy
import ctypes
import logging
import sys
from typing import Any, Optional

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmpose.models.pose_estimators.base import BasePoseEstimator
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..models.pose_estimators import keypoint_head
from .folding import fold_batch_norms, tensors_in

# Largest difference of an output, in parts of its largest value.
_TOLERANCE = 1e-4
# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_FUSED_FLIP = {
    name: f'FusedFlip{name}'
    for name in ('TopdownPoseEstimator', 'BottomupPoseEstimator')
}


def speed_up(
    model: BasePoseEstimator, images: Optional[Tensor] = None
) -> BasePoseEstimator:
    """Make a pose estimator fast, for inference only.

    Batch norms are folded into the convolutions before them, and on a CPU
    the channels come last in memory, which saves torch the reordering of
    every map. The outputs on some images are compared with the model's.

    Args:
        model (BasePoseEstimator): The model, with the weights that it will
            work with.
        images (Tensor, optional): Network inputs (N, 3, H, W) as from the
            model's data preprocessor. Defaults to ``None``, one random image
            of the codec's input size.

    Returns:
        BasePoseEstimator: A copy in evaluation mode; the model itself, with a
        warning, if it cannot be tried or the outputs of the copy differ by
        more than 1e-4 of the largest one.
    """
    model.eval()
    if images is None:
        images = _random_image(model)
    if images is None:
        return _unchanged(model, 'its codec has no input_size')

    def outputs_of(network: nn.Module):
        with torch.inference_mode():
            return network(images, None, mode='tensor')

    try:
        fast = copy.deepcopy(model)
        fold_batch_norms(fast, lambda: fast(images, None, mode='tensor'))
        if images.device.type == 'cpu':
            fast = fast.to(memory_format=torch.channels_last)
            _return_contiguous(keypoint_head(fast))
        pairs = zip(*(tensors_in(outputs_of(net)) for net in (model, fast)))
        difference = max(float(_difference(a, b)) for a, b in pairs)
    except Exception as e:  # any head may want more than an image
        return _unchanged(model, f'it cannot be tried ({e})')
    if not difference <= _TOLERANCE:
        return _unchanged(model, f'its outputs change by {difference:.1e}')
    return fast


def use_fused_flip(cfg: Config) -> None:
    """Change a config such that its flip test takes one pass.

    Only MMPose's estimators are replaced: another class may do anything in
    its ``predict``.

    Args:
        cfg (Config): The config, whose ``model.type`` is changed in place.
    """
    kind = cfg.model.type
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    for name, fused in _FUSED_FLIP.items():
        if kind is MODELS.get(f'mmpose.{name}'):
            cfg.model.type = f'mmpose.{fused}'


def keep_freed_memory() -> None:
    """Keep freed memory in this process, for its next tensors.

    The C library of Linux returns large tensors to the system, which then
    has to map every page of the next one anew. On other systems this does
    nothing.
    """
    if sys.platform != 'linux':
        return
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _random_image(model: BasePoseEstimator) -> Optional[Tensor]:
    """A normalised image of the size that the model's codec expects."""
    codec = getattr(keypoint_head(model), 'decoder', None)
    if not hasattr(codec, 'input_size'):
        return None
    width, height = codec.input_size
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, height, width, generator=generator)
    return image.to(next(model.parameters()))


def _return_contiguous(head: nn.Module) -> None:
    """Make a head return maps with their channels first in memory.

    MMPose's flip test of offsets needs it for its views.
    """
    forward = head.forward
    head.forward = lambda *args, **kwargs: _contiguous(
        forward(*args, **kwargs)
    )


def _contiguous(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data.contiguous()
    if isinstance(data, (list, tuple)):
        return type(data)(map(_contiguous, data))
    return data


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """Largest difference, in parts of the largest value."""
    largest = a.abs().max().clamp(min=torch.finfo(a.dtype).tiny)
    return (a - b).abs().max() / largest


def _unchanged(model: BasePoseEstimator, reason: str) -> BasePoseEstimator:
    print_log(
        f'{type(model).__name__} is tested without folded batch norms: '
        f'{reason}',
        logger='current',
        level=logging.WARNING,
    )
    return model
