"""Parameters and multiply-adds of a network."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from .networks import Call

_CONVOLUTIONS = {'aten.convolution', 'aten._convolution'}


@dataclass(frozen=True)
class Complexity:
    """What a network costs.

    Args:
        params (int): All parameters, frozen ones included.
        macs (int): Multiply-adds of the convolutions of one forward.
    """

    params: int
    macs: int


def count_complexity(call: Call) -> Complexity:
    """Count the parameters, and the multiply-adds of one forward.

    Convolutions and transposed convolutions are counted, as in the papers'
    tables: biases, normalisation, activations, resampling, sums, and linear
    layers are not.

    Args:
        call (Call): The network, with the images of its forward.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    flops = sum(
        count
        for op, count in counter.get_flop_counts()['Global'].items()
        if str(op) in _CONVOLUTIONS
    )
    params = sum(p.numel() for p in call.module.parameters())
    return Complexity(params, flops // 2)
