"""Parameters and multiply-adds of a network."""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .networks import Call

_CONVOLUTIONS = {'aten.convolution', 'aten._convolution'}
_LINEAR_LAYERS = {'aten.addmm', 'aten.mm'}


@dataclass(frozen=True)
class Complexity:
    """What a network costs.

    Args:
        params (int): All parameters, frozen ones included.
        macs (int): Multiply-adds of the convolutions of one forward.
        linear_macs (int): Those of its linear layers.
    """

    params: int
    macs: int
    linear_macs: int


def count_complexity(call: Call) -> Complexity:
    """Count the parameters, and the multiply-adds of one forward.

    Convolutions and transposed convolutions are counted, as in the papers'
    tables: biases, normalisation, activations, resampling and sums are not,
    and linear layers are counted by themselves. A deformable convolution
    (mmcv's ``DCN`` and ``DCNv2``) counts as a plain one and the convolution
    that finds its offsets as another; its resampling is not counted.

    Args:
        call (Call): The network, with the images of its forward.

    Returns:
        Complexity: The counts.
    """
    deformable = []

    def count(module: nn.Module, args: tuple, output: Tensor) -> None:
        deformable.append(output.numel() * module.weight[0].numel())

    types = _deformable_convolutions()
    handles = [
        module.register_forward_hook(count)
        for module in call.module.modules()
        if isinstance(module, types)
    ]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call()
    finally:
        for handle in handles:
            handle.remove()

    flops = counter.get_flop_counts()['Global']

    def macs(names: set) -> int:
        return sum(n for op, n in flops.items() if str(op) in names) // 2

    return Complexity(
        params=sum(p.numel() for p in call.module.parameters()),
        macs=macs(_CONVOLUTIONS) + sum(deformable),
        linear_macs=macs(_LINEAR_LAYERS),
    )


def _deformable_convolutions() -> tuple:
    """Types that torch's counter does not look into.

    A network can have them only where mmcv's operators, which must be
    compiled, have been imported already.
    """
    ops = sys.modules.get('mmcv.ops')
    return (ops.DeformConv2d, ops.ModulatedDeformConv2d) if ops else ()
