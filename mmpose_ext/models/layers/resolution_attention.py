"""Attention weights over the resolutions that a fusion adds up."""

from typing import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn


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
    """

    def __init__(self, channels: int, num_inputs: int):
        super().__init__()
        # The M convolutions 1x1 of C channels to 1 on pooled maps are one
        # (M, C) product. Plain parameters, because init_cfg entries of a
        # backbone that name Conv2d must not undo the start at zero.
        self.weight = nn.Parameter(torch.zeros(num_inputs, channels))
        self.bias = nn.Parameter(torch.zeros(num_inputs))
        self.omega = nn.Parameter(torch.full((num_inputs,), float(num_inputs)))
        self.beta = nn.Parameter(torch.zeros(num_inputs))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Weigh the maps of one fused output.

        Args:
            maps (Sequence[Tensor]): M maps of shape (N, C, H_h, W_h). A map
                may come before its nearest upsampling by a whole factor,
                which does not change its mean.

        Returns:
            Tensor: Weights of shape (M, N, 1, 1, 1) in the maps' dtype.
        """
        # One product each: OpenVINO 2026.4 is wrong about the sum over C of
        # (N, M, C) * (M, C) for N > 1.
        scores = [x.mean((2, 3)) @ w for x, w in zip(maps, self.weight)]
        scores = torch.stack(scores, dim=1) + self.bias
        weights = self.omega * scores.softmax(1) + self.beta
        return weights.to(maps[0].dtype).t()[..., None, None, None]
