"""Mixed precision in bfloat16, and on a CPU."""

import functools
import sys
from typing import Any, Callable

import torch
from mmengine.device import get_device

from .report import Repair


def _from_bfloat16(x: Any) -> Any:
    """bfloat16 tensors in float32, which holds their values exactly."""
    if isinstance(x, list):
        return [_from_bfloat16(item) for item in x]
    is_bfloat16 = isinstance(x, torch.Tensor) and x.dtype == torch.bfloat16
    return x.float() if is_bfloat16 else x


def convert_bfloat16_to_numpy() -> Repair:
    """Let MMPose convert tensors of a type that numpy does not have.

    Its heads convert their outputs to decode them and, in training, to
    compute the accuracy.
    """
    from mmpose.utils import tensor_utils

    original = tensor_utils.to_numpy

    # It converts the items of sequences by the name that is replaced here.
    @functools.wraps(original)
    def to_numpy(
        x: Any, return_device: bool = False, unzip: bool = False
    ) -> Any:
        return original(_from_bfloat16(x), return_device, unzip)

    tensor_utils.to_numpy = to_numpy
    # Where MMPose was imported first, its heads have the old one by name.
    for name, module in list(sys.modules.items()):
        if name.startswith('mmpose.') and (
            getattr(module, 'to_numpy', None) is original
        ):
            module.to_numpy = to_numpy
    return Repair(
        'bfloat16 in MMPose', 'numpy has no such type', 'float32 is given'
    )


def run_operators_in_float32() -> Repair:
    """Let mmcv's operators take bfloat16, which they do not have."""
    from mmcv.ops.deform_conv import DeformConv2dFunction
    from mmcv.ops.modulated_deform_conv import ModulatedDeformConv2dFunction
    from mmcv.ops.nms import NMSop
    from mmcv.ops.roi_align import RoIAlignFunction

    for function in (
        NMSop,
        RoIAlignFunction,
        DeformConv2dFunction,
        ModulatedDeformConv2dFunction,
    ):
        function.forward = staticmethod(_in_float32(function.forward))
    return Repair(
        'bfloat16 in mmcv', 'its operators have no such type', 'run in float32'
    )


def keep_boxes_in_float32() -> None:
    """Let MMDet's dense heads predict boxes in float32; needs MMDet.

    They make anchors of the type of their outputs, in which autocast with
    bfloat16 can tell apart whole pixels up to 256 only.
    """
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    if not hasattr(BaseDenseHead.predict_by_feat, '__wrapped__'):
        BaseDenseHead.predict_by_feat = _in_float32(
            BaseDenseHead.predict_by_feat
        )


def _in_float32(function: Callable) -> Callable:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return function(*map(_from_bfloat16, args), **kwargs)

    return wrapped


def allow_amp_on_cpu() -> Repair:
    """Let ``AmpOptimWrapper`` train on a CPU, as MMEngine's autocast can.

    It asks for a GPU, of which only float16 has need: to scale the losses.
    """
    from mmengine.optim.optimizer import amp_optimizer_wrapper as module

    thing = 'AmpOptimWrapper on CPUs'
    if get_device() != 'cpu':
        return Repair(thing, 'not needed')
    module.is_cuda_available = lambda: True
    scaler = getattr(torch.amp, 'GradScaler', module.GradScaler)
    module.GradScaler = functools.partial(scaler, enabled=False)
    return Repair(thing, 'it asks for a GPU', 'trains without scaling losses')
