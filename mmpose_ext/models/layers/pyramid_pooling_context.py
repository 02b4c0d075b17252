"""Global context by means over windows."""

from typing import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor, nn

from ...arguments import each, positive_int
from .checks import check_batch_norm, check_map
from .initialization import apply_init_cfg_to_convs


@MODELS.register_module()
class PyramidPoolingContext(BaseModule):
    """Pyramid pooling: means over windows of four sizes.

    `Global Context for Convolutional Pose Machines
    <https://arxiv.org/abs/1906.04104>`_, section 4, figure 3, after `PSPNet
    <https://arxiv.org/abs/1612.01105>`_. The paper names the windows, which
    are 1/2, 1/4, 1/8 and 1/16 of the map; the rest is inferred from its counts
    (0.2 M, 0.07 G): per window average pooling with stride = window, a 3x3
    convolution, bilinear upsampling and a second 3x3 convolution;
    concatenation; a 1x1 convolution. All have bias, norm and ReLU. The input
    itself is not concatenated.

    It works on maps of any size: a window has at least one cell, and where
    the size is no multiple of the window, the last window is a smaller one
    (but a batch norm learns nothing from a single map of one cell).

    Args:
        in_channels (int): Channels C of the input and of the output.
        mid_channels (int): Channels of a branch. Defaults to 32.
        divisors (Sequence[int]): The map's size over that of the windows, per
            branch. Defaults to ``(2, 4, 8, 16)``.
        norm_cfg (dict): Config of the normalization. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict | list[dict], optional): Config of the initialization.
            Defaults to ``None``, which is mmcv's Kaiming initialization of
            ``ConvModule``.

    Raises:
        ValueError: If a number is not a positive integer, ``divisors`` is
            empty, or a map is not of shape (N, C, H, W); in training, if a
            batch norm would see a single value.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int = 32,
        divisors: Sequence[int] = (2, 4, 8, 16),
        norm_cfg: dict = dict(type='BN'),
        init_cfg: OptMultiConfig = None,
    ):
        super().__init__(init_cfg)
        self.in_channels = positive_int('in_channels', in_channels)
        mid_channels = positive_int('mid_channels', mid_channels)
        self.divisors = tuple(each(positive_int, 'divisors', divisors))

        def convs(i: int, o: int, kernel_size: int = 3):
            return ConvModule(
                i,
                o,
                kernel_size,
                padding=kernel_size // 2,
                bias=True,
                norm_cfg=norm_cfg,
            )

        self.pooled = nn.ModuleList(
            convs(self.in_channels, mid_channels) for _ in self.divisors
        )
        self.upsampled = nn.ModuleList(
            convs(mid_channels, mid_channels) for _ in self.divisors
        )
        self.fuse = convs(
            len(self.divisors) * mid_channels, self.in_channels, 1
        )
        apply_init_cfg_to_convs(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        check_map(x, self.in_channels)
        check_batch_norm(self, x, 1)
        size = x.shape[-2:]
        outs = []
        for divisor, pooled, upsampled in zip(
            self.divisors, self.pooled, self.upsampled
        ):
            window = [max(1, s // divisor) for s in size]
            mean = F.avg_pool2d(
                x, window, ceil_mode=True, count_include_pad=False
            )
            up = F.interpolate(
                pooled(mean), size, mode='bilinear', align_corners=False
            )
            outs.append(upsampled(up))
        return self.fuse(torch.cat(outs, dim=1))
