"""Deformable convolution that is fast enough to train on a CPU."""

import torch
import torch.nn.functional as F
from mmcv.ops import DeformConv2dPack
from mmengine.registry import MODELS
from torch import Tensor


@MODELS.register_module('SampledDCN')
class SampledDeformConv2dPack(DeformConv2dPack):
    """mmcv's ``DCN``, computed differently on a CPU, with the same weights.

    Equation 5 is a convolution of values that are read, by bilinear
    interpolation, at learned places. Here torch's ``grid_sample`` reads
    them, which uses vector instructions and threads in both directions, where
    mmcv's operator has neither. On a GPU, mmcv's operator is used.

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
        # Half precision could not even hold the cells' numbers.
        dtype = torch.promote_types(x.dtype, torch.float32)
        offset = self.conv_offset(x).to(dtype)
        values = self._read(x.to(dtype), offset).to(x.dtype)
        weight = self.weight.flatten(1).unflatten(0, (self.groups, -1))
        groups = values.flatten(1, 2).unflatten(1, (self.groups, -1))
        out = weight @ groups.flatten(3)
        return out.flatten(1, 2).unflatten(2, values.shape[3:])

    def _read(self, x: Tensor, offset: Tensor) -> Tensor:
        """Values under the kernel: (N, C, kernel's cells, H', W')."""
        moved = offset.reshape(
            len(x) * self.deform_groups, -1, 2, *offset.shape[2:]
        )
        rows = self._places(moved, 0, x.shape[2])
        columns = self._places(moved, 1, x.shape[3])
        maps = x.reshape(len(moved), -1, *x.shape[2:])
        values = F.grid_sample(
            maps,
            torch.stack((columns, rows), dim=-1).flatten(1, 2),
            mode='bilinear',
            align_corners=False,
        )
        return values.reshape(
            *x.shape[:2], *moved.shape[1:2], *moved.shape[3:]
        )

    def _places(self, moved: Tensor, axis: int, size: int) -> Tensor:
        """Where to read on an axis; the map reaches from -1 to 1."""
        index = torch.arange(moved.shape[3 + axis]).to(moved)
        index = index * self.stride[axis] - self.padding[axis]
        cells = torch.arange(moved.shape[1], device=moved.device)
        # The kernel's cells come row by row.
        columns = self.kernel_size[1]
        cell = cells % columns if axis else cells // columns
        start = index[:, None] if axis == 0 else index
        place = start + cell[:, None, None] * self.dilation[axis]
        return (2 * (place + moved[:, :, axis]) + 1) / size - 1
