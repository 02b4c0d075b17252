"""Modules that show every cell of a map what the whole map holds."""

from typing import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor, nn

from ...arguments import each, positive_int
from .checks import check_map
from .initialization import apply_init_cfg_to_convs


def _check_batch_norm(module: nn.Module, x: Tensor, cells: int) -> None:
    """Check that batch norms get more than one value to learn from."""
    n, _, h, w = x.shape
    if n > 1 or max(h, w) > cells:
        return
    # A SyncBatchNorm may get more from other processes.
    if any(
        isinstance(m, nn.BatchNorm2d) and m.training for m in module.modules()
    ):
        raise ValueError(
            f'{type(module).__name__} cannot be trained on a single map of '
            f'{h}x{w} cells: expected a side of more than {cells}, or more '
            'images in a batch'
        )


def _resize(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear interpolation to the size of another map."""
    return F.interpolate(
        x, like.shape[-2:], mode='bilinear', align_corners=False
    )


@MODELS.register_module()
class UShapedContext(BaseModule):
    """U-shaped context: two steps down, two steps up, with skips.

    `Global Context for Convolutional Pose Machines
    <https://arxiv.org/abs/1906.04104>`_, section 4, figure 9. The paper draws
    the module without naming its layers; they follow the published weights:
    all convolutions are 3x3, with bias, norm and ReLU, of twice the input's
    channels, the last one of the input's. Each downward step is a convolution
    of stride 2 and one of stride 1; each upward step upsamples bilinearly to
    the size of the skip, so that odd sizes work, concatenates and convolves
    twice. It works on maps of any size (but a batch norm learns nothing from a
    single image's map of at most 4x4 cells).

    Args:
        in_channels (int): Channels C of the input and of the output.
        norm_cfg (dict): Config of the normalization. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict | list[dict], optional): Config of the initialization.
            Defaults to ``None``, which is mmcv's Kaiming initialization of
            ``ConvModule``.

    Raises:
        ValueError: If an argument is no positive integer, or a map is not of
            shape (N, C, H, W); in training, if a batch norm would see a
            single value.
    """

    def __init__(
        self,
        in_channels: int,
        norm_cfg: dict = dict(type='BN'),
        init_cfg: OptMultiConfig = None,
    ):
        super().__init__(init_cfg)
        self.in_channels = c = positive_int('in_channels', in_channels)

        def two(first: int, mid: int, last: int, stride: int = 1):
            return nn.Sequential(
                *(
                    ConvModule(
                        i, o, 3, s, padding=1, bias=True, norm_cfg=norm_cfg
                    )
                    for i, o, s in ((first, mid, stride), (mid, last, 1))
                )
            )

        self.encoder1 = two(c, 2 * c, 2 * c, stride=2)
        self.encoder2 = two(2 * c, 2 * c, 2 * c, stride=2)
        self.decoder2 = two(4 * c, 2 * c, 2 * c)
        self.decoder1 = two(3 * c, 2 * c, c)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        check_map(x, self.in_channels)
        _check_batch_norm(self, x, 4)
        half = self.encoder1(x)
        quarter = self.encoder2(half)
        up = self.decoder2(torch.cat([half, _resize(quarter, half)], dim=1))
        return self.decoder1(torch.cat([x, _resize(up, x)], dim=1))


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
        ValueError: If a number is no positive integer, ``dilations`` is
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
        ValueError: If a number is no positive integer, ``divisors`` is empty,
            or a map is not of shape (N, C, H, W); in training, if a batch
            norm would see a single value.
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
        _check_batch_norm(self, x, 1)
        size = x.shape[-2:]
        outs = []
        for divisor, pooled, upsampled in zip(
            self.divisors, self.pooled, self.upsampled
        ):
            window = [max(1, s // divisor) for s in size]
            mean = F.avg_pool2d(
                x, window, ceil_mode=True, count_include_pad=False
            )
            outs.append(upsampled(_resize(pooled(mean), x)))
        return self.fuse(torch.cat(outs, dim=1))
