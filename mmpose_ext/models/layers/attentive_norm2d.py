"""Normalisation whose affine part is mixed from several, per sample."""

import torch
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from ...arguments import fraction, positive, positive_int


@MODELS.register_module()
class AttentiveNorm2d(nn.Module):
    r"""Batch norm, then a scale and shift mixed from K learned pairs.

    `Attentive Normalization <https://arxiv.org/abs/1908.01259>`_, as
    LOGO-CAP's official implementation has it. With z the map x after a batch
    norm without affine part,

    .. math::
        q_c = \mathrm{mean}(x_c) / \sqrt{\mathrm{var}(x_c) + 10^{-3}}, \quad
        \lambda = \mathrm{relu6}(A q + 3) / 6, \quad
        y = (\sum_i \lambda_i \gamma_i) z + \sum_i \lambda_i \beta_i

    The statistics in q are those of one sample's map, in training and in
    evaluation; the variance is the unbiased one. A is a 1x1 convolution
    without bias, and nothing normalises its output. The pairs are summed, not
    averaged: all weights start near 1/2, so the gain starts near K / 2.

    It may be named in a ``norm_cfg``.

    Args:
        num_features (int): Channels C.
        num_affines (int): Pairs K of scale and shift. Defaults to 20.
        eps (float): Added to the batch norm's variance. Defaults to 1e-5.
        momentum (float): Of the batch norm's statistics. Defaults to 0.1.

    Raises:
        ValueError: If ``num_features``, ``num_affines`` or ``eps`` is not
            positive, ``momentum`` not in [0, 1], or a map has a single cell,
            which has no variance.
    """

    # MMCV names the norm of a ConvModule by this.
    _abbr_ = 'an'

    def __init__(
        self,
        num_features: int,
        num_affines: int = 20,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ):
        super().__init__()
        num_features = positive_int('num_features', num_features)
        num_affines = positive_int('num_affines', num_affines)
        self.norm = nn.BatchNorm2d(
            num_features,
            positive('eps', eps),
            fraction('momentum', momentum),
            affine=False,
        )
        self.mixing = nn.Conv2d(num_features, num_affines, 1, bias=False)
        self.gamma = nn.Parameter(torch.empty(num_affines, num_features))
        self.beta = nn.Parameter(torch.empty(num_affines, num_features))
        nn.init.kaiming_normal_(self.mixing.weight, mode='fan_out')
        nn.init.normal_(self.gamma, 1, 0.1)
        nn.init.normal_(self.beta, 0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        if x.shape[-2:].numel() < 2:
            raise ValueError(
                'attentive norm needs the variance of a map, got maps of one '
                f'cell: {tuple(x.shape)}'
            )
        var, mean = torch.var_mean(x, dim=(2, 3), keepdim=True)
        weights = F.hardsigmoid(self.mixing(mean * (var + 1e-3).rsqrt()))
        weights = weights.flatten(1)
        scale, shift = weights @ self.gamma, weights @ self.beta
        return torch.addcmul(
            shift[..., None, None], scale[..., None, None], self.norm(x)
        )
