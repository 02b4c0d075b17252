"""Parameters and multiply-adds of a network."""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

_CONVOLUTIONS = {'aten.convolution', 'aten._convolution'}
_LINEAR_LAYERS = {'aten.addmm', 'aten.mm'}


@dataclass(frozen=True)
class Complexity:
    """The size and the cost of a network.

    Args:
        params (int): All parameters, frozen ones included.
        macs (int): Multiply-adds of the convolutions of one forward.
        linear_macs (int): Those of its linear layers.
    """

    params: int
    macs: int
    linear_macs: int


def count_complexity(module: nn.Module, *args, **kwargs) -> Complexity:
    """Count the parameters, and the multiply-adds of one forward.

    Convolutions and transposed convolutions are counted, as in the papers'
    tables: biases, normalisation, activations, resampling and sums are not,
    and linear layers are counted separately. A deformable convolution
    (mmcv's ``DCN`` and ``DCNv2``) counts as a plain one and the convolution
    that finds its offsets as another; its resampling is not counted.

    Args:
        module (nn.Module): The network, in evaluation mode.
        *args: Arguments of its forward.
        **kwargs: Keyword arguments of its forward.
    """
    deformable = []

    def count(conv: nn.Module, args: tuple, output: Tensor) -> None:
        deformable.append(output.numel() * conv.weight[0].numel())

    # Types that torch's counter does not look into. A network can have them
    # only where mmcv's operators are imported.
    ops = sys.modules.get('mmcv.ops')
    types = (ops.DeformConv2d, ops.ModulatedDeformConv2d) if ops else ()
    handles = [
        part.register_forward_hook(count)
        for part in module.modules()
        if isinstance(part, types)
    ]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()

    flops = counter.get_flop_counts()['Global']

    def macs(names: set) -> int:
        return sum(n for op, n in flops.items() if str(op) in names) // 2

    return Complexity(
        params=sum(p.numel() for p in module.parameters()),
        macs=macs(_CONVOLUTIONS) + sum(deformable),
        linear_macs=macs(_LINEAR_LAYERS),
    )
