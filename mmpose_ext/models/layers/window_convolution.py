"""Convolution of each keypoint's window with its kernel."""

from typing import Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .keypoint_sampling import full_precision

# Windows convolved at once, to save memory as in keypoint_sampling.py.
_PART = 64


@full_precision
def convolve_windows(windows: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each window with its kernel.

    It is a convolution in the strict sense: a kernel that is 1 at d and 0
    elsewhere moves what is in the window by d from its middle. Outside of the
    window there is 0.

    Args:
        windows (Tensor): Of shape (n, K, S, S).
        kernels (Tensor): Of shape (n, K, k, k), k odd.

    Returns:
        Tensor: Of shape (n, K, S, S).
    """
    kernels = kernels.to(windows).flip(-1, -2).flatten(0, 1)
    parts = zip(windows.flatten(0, 1).split(_PART), kernels.split(_PART))
    return torch.cat([_convolve(*part) for part in parts]).view_as(windows)


def _convolve(windows: Tensor, kernels: Tensor) -> Tensor:
    """Correlate each of the windows (m, S, S) with its kernel (m, k, k)."""
    # The windows become channels, and channels come last in memory: several
    # times as fast on a CPU as the other order.
    maps = windows.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    return F.conv2d(
        maps[None],
        kernels[:, None],
        padding=kernels.shape[-1] // 2,
        groups=len(kernels),
    )[0]


def find_peaks(windows: Tensor) -> Tuple[Tensor, Tensor]:
    """Peak of each window, from its two largest values.

    Args:
        windows (Tensor): Of shape (n, K, S, S).

    Returns:
        tuple[Tensor, Tensor]: (x, y) of the peaks relative to the windows'
        middle, of shape (n, K, 2), and their values (n, K): 3/4 of the largest
        and 1/4 of the second largest, in place and in value.
    """
    side = windows.shape[-1]
    values, places = windows.flatten(2).topk(2)
    # 3/4 and 1/4, made where the values are, without a copy to the device.
    weights = torch.arange(3, 0, -2, device=values.device).to(values) / 4
    places = torch.stack([places % side, places // side], dim=2)
    return places.to(values) @ weights - side // 2, values @ weights
