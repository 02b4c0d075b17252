"""HRNet's module with resolution-wise attention in its fusion."""

from typing import List

import torch.nn.functional as F
from torch import Tensor, nn

from .fusion_hr_module import FusionHRModule
from .resolution_attention import ResolutionAttention, mean_upsampled


class RAMHRModule(FusionHRModule):
    r"""HRNet's module whose fusion weighs the resolutions that it adds up.

    The Resolution-wise Attention Module of "Learning Enhanced Resolution-wise
    Features for Human Pose Estimation" (Zhang et al.), section 3.1, equation
    3: :math:`Y_i = \sum_h W_h^i T_h^i(X_h)` followed by HRNet's ReLU, with
    HRNet's own fuse paths as the sampling functions :math:`T`. The arguments
    and the state-dict keys are those of MMPose's ``HRModule``; the weights'
    parameters are added under ``attention.{i}``.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.num_branches > 1:
            self.attention = nn.ModuleList(
                ResolutionAttention(channels, self.num_branches)
                for channels in self.in_channels[: len(self.fuse_layers)]
            )

    def _fuse(self, x: List[Tensor], i: int) -> Tensor:
        """Add up the weighted maps at the resolution of branch ``i``.

        Lower maps are averaged and weighed before they are upsampled, which
        gives the same numbers at a fraction of the time and memory.
        """
        paths = self.fuse_layers[i]
        maps = [
            xj if j == i else (paths[j] if j < i else paths[j][:-1])(xj)
            for j, xj in enumerate(x)
        ]
        size = x[i].shape[-2:]
        means = [xj.mean((2, 3)) for xj in maps[: i + 1]]
        means += [
            mean_upsampled(xj, size, **self.upsample_cfg)
            for xj in maps[i + 1 :]
        ]
        # HRNet's order of summation, so that weights of 1 give its bits.
        y = 0
        for j, (xj, weight) in enumerate(zip(maps, self.attention[i](means))):
            xj = xj * weight
            if j > i:
                xj = F.interpolate(xj, size, **self.upsample_cfg)
            y += xj
        return y
