"""Global context by dilated convolutions."""

from typing import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor, nn

from ...arguments import each, positive_int
from .checks import check_map
from .initialization import apply_init_cfg_to_convs


@MODELS.register_module()
class ASPPContext(BaseModule):
    """Atrous spatial pyramid pooling: four dilation rates side by side.

    `Global Context for Convolutional Pose Machines
    <https://arxiv.org/abs/1906.04104>`_, section 4, figure 2, after
    `DeepLab <https://arxiv.org/abs/1606.00915>`_. The paper names the 1024
    channels and the rates; the rest is inferred from its counts (9.52 M,
    9.75 G): a 1x1 convolution and ReLU to ``neck_channels``; per rate a
    dilated 3x3 convolution and ReLU, a 1x1 convolution and ReLU and a 1x1
    convolution back; concatenation; a last 1x1 convolution. No convolution has
    a bias or a norm. It works on maps of any size.

    Args:
        in_channels (int): Channels C of the input and of the output.
        mid_channels (int): Channels inside a branch. Defaults to 1024.
        neck_channels (int): Channels before and after the branches. Defaults
            to 128.
        dilations (Sequence[int]): Rate of each branch. Defaults to
            ``(3, 6, 9, 12)``.
        init_cfg (dict | list[dict], optional): Config of the initialization.
            Defaults to ``None``, which is mmcv's Kaiming initialization of
            ``ConvModule``.

    Raises:
        ValueError: If a number is not a positive integer, ``dilations`` is
            empty, or a map is not of shape (N, C, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int = 1024,
        neck_channels: int = 128,
        dilations: Sequence[int] = (3, 6, 9, 12),
        init_cfg: OptMultiConfig = None,
    ):
        super().__init__(init_cfg)
        self.in_channels = c = positive_int('in_channels', in_channels)
        m = positive_int('mid_channels', mid_channels)
        n = positive_int('neck_channels', neck_channels)
        dilations = each(positive_int, 'dilations', dilations)
        self.reduce = ConvModule(c, n, 1, bias=False)
        self.branches = nn.ModuleList(
            nn.Sequential(
                ConvModule(n, m, 3, padding=d, dilation=d, bias=False),
                ConvModule(m, m, 1, bias=False),
                ConvModule(m, n, 1, bias=False, act_cfg=None),
            )
            for d in dilations
        )
        self.fuse = ConvModule(
            len(dilations) * n, c, 1, bias=False, act_cfg=None
        )
        apply_init_cfg_to_convs(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        check_map(x, self.in_channels)
        x = self.reduce(x)
        return self.fuse(torch.cat([b(x) for b in self.branches], dim=1))
