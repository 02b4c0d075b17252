"""Deformable convolution that is fast enough to train on a CPU."""

from mmcv.ops import DeformConv2dPack
from mmengine.registry import MODELS
from torch import Tensor

from ..compat.operators.deform_conv import deform_conv2d


@MODELS.register_module('SampledDCN')
class SampledDeformConv2dPack(DeformConv2dPack):
    """mmcv's ``DCN``, computed differently on a CPU, with the same weights.

    On a CPU it is computed by :func:`deform_conv2d`, also where mmcv has a
    compiled operator, which takes several times as long and cannot be
    exported. On a GPU, mmcv's operator is used.

    It takes the arguments of ``DCN``; ``im2col_step`` counts on a GPU alone.
    """

    def init_weights(self) -> None:
        """Set the offsets to 0.

        MMEngine calls this after a backbone's own initialisation, which takes
        the convolution of the offsets for any other one. Offsets of many
        cells from the start make gradients explode from stage to stage.
        """
        self.init_offset()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x (Tensor): Shape (N, C, H, W).

        Returns:
            Tensor: Shape (N, out_channels, H', W').
        """
        if x.is_cuda:
            return super().forward(x)
        return deform_conv2d(
            x,
            self.conv_offset(x),
            self.weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            deform_groups=self.deform_groups,
        )
