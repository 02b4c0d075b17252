"""Attention weights over the resolutions that a fusion adds up."""

from typing import Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...arguments import positive_int


def mean_upsampled(
    x: Tensor,
    size: Tuple[int, int],
    mode: str = 'nearest',
    align_corners: Optional[bool] = None,
) -> Tensor:
    """Mean of a map as it is after an interpolation to another size.

    The interpolation itself is not computed: the mean weighs each row and
    each column by its share in the larger map. By a fractional factor,
    nearest upsampling repeats some of them more often than others.

    Args:
        x (Tensor): A map of shape (N, C, h, w).
        size (tuple[int, int]): Height and width after the interpolation.
        mode (str): ``'nearest'`` or ``'bilinear'``. Defaults to
            ``'nearest'``.
        align_corners (bool, optional): As of ``interpolate``. Defaults to
            ``None``.

    Returns:
        Tensor: Means of shape (N, C).
    """
    (h, w), (height, width) = x.shape[2:], size
    # A whole factor leaves the mean as it is, unless the outermost cells are
    # aligned with the corners, which gives them half the share of the others.
    if not align_corners and height % h == 0 and width % w == 0:
        return x.mean((2, 3))
    # Half precision could not hold most shares.
    dtype = torch.promote_types(x.dtype, torch.float32)

    def shares(number: int, length: int) -> Tensor:
        """How much of an axis each of its cells covers, of shape (number,)."""
        cells = torch.eye(number, dtype=dtype, device=x.device)
        resized = F.interpolate(
            cells[None, ..., None], (length, 1), None, mode, align_corners
        )
        return resized.mean((0, 2, 3))

    cells = shares(h, height)[:, None] * shares(w, width)
    return (x * cells).sum((2, 3)).to(x.dtype)


class ResolutionAttention(BaseModule):
    r"""One weight per sample and input resolution, for one fused output.

    "Learning Enhanced Resolution-wise Features for Human Pose Estimation"
    (Zhang et al.), section 3.1, equations 1 and 2:

    .. math::
        E_h = \mathrm{conv}_{1 \times 1}(\mathrm{avgpool}(X_h)), \quad
        W_h = \omega_h \, \mathrm{softmax}(E)_h + \beta_h

    Equation 2 as printed has no exponential in its denominator, and
    equations 2 and 3 sum over the output index :math:`i`; the text says
    softmax over the inputs, so both sums run over :math:`h` here.

    The scores start at zero, :math:`\omega` at the number of inputs M and
    :math:`\beta` at zero: every weight then is exactly 1 and the fusion is
    the plain sum. An optimizer with weight decay, which would pull ``omega``
    away from it, should leave them out:
    ``paramwise_cfg=dict(custom_keys={'attention': dict(decay_mult=0)})``.

    Args:
        channels (int): Channels C of the maps.
        num_inputs (int): Number of resolutions M that are added up.

    Raises:
        ValueError: If an argument is not a positive integer.
    """

    def __init__(self, channels: int, num_inputs: int):
        super().__init__()
        channels = positive_int('channels', channels)
        num_inputs = positive_int('num_inputs', num_inputs)
        # The M convolutions 1x1 of C channels to 1 on pooled maps are one
        # (M, C) product. Plain parameters, because init_cfg entries of a
        # backbone that name Conv2d must not undo the start at zero.
        self.weight = nn.Parameter(torch.zeros(num_inputs, channels))
        self.bias = nn.Parameter(torch.zeros(num_inputs))
        self.omega = nn.Parameter(torch.full((num_inputs,), float(num_inputs)))
        self.beta = nn.Parameter(torch.zeros(num_inputs))

    def forward(self, means: Sequence[Tensor]) -> Tensor:
        """Weigh the maps of one fused output.

        Args:
            means (Sequence[Tensor]): The means over all cells of the M maps
                at the resolution of the output, each of shape (N, C).

        Returns:
            Tensor: Weights of shape (M, N, 1, 1, 1) in the means' dtype.
        """
        # One product each: OpenVINO 2026.4 is wrong about the sum over C of
        # (N, M, C) * (M, C) for N > 1.
        scores = [mean @ w for mean, w in zip(means, self.weight)]
        scores = torch.stack(scores, dim=1) + self.bias
        weights = self.omega * scores.softmax(1) + self.beta
        return weights.to(means[0].dtype).t()[..., None, None, None]
