"""Gradual pyramid refinement of a backbone's maps."""

from typing import Sequence, Tuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor, nn

from ..layers.checks import check_channels, check_maps
from ..layers.initialization import apply_init_cfg_to_convs


class RefinementStep(BaseModule):
    """Merge one map into the next higher one (equations 4 and 5).

    Args:
        low_channels (int): Channels C of the lower map.
        high_channels (int): Channels C' of the higher map and of the output.
        norm_cfg (dict): Config of the normalization.
    """

    def __init__(self, low_channels: int, high_channels: int, norm_cfg: dict):
        super().__init__()
        self.deconv = ConvModule(
            low_channels,
            low_channels,
            4,
            stride=2,
            padding=1,
            conv_cfg=dict(type='deconv'),
            norm_cfg=norm_cfg,
        )
        self.interpolated = ConvModule(
            low_channels, low_channels, 1, norm_cfg=norm_cfg, act_cfg=None
        )
        self.reduce = ConvModule(
            low_channels + high_channels,
            high_channels,
            3,
            padding=1,
            norm_cfg=norm_cfg,
        )

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(N, C, H', W') and (N, C', H, W) to (N, C', H, W)."""
        h, w = high.shape[-2:]
        # Where H or W is odd, the deconvolution is one cell too large.
        deconv = self.deconv(low)[..., :h, :w]
        interpolated = self.interpolated(
            F.interpolate(low, (h, w), mode='bilinear', align_corners=False)
        )
        return self.reduce(torch.cat([deconv + interpolated, high], dim=1))


@MODELS.register_module()
class GPRNeck(BaseModule):
    """Gradual Pyramid Refinement: merges maps two by two, from low to high.

    "Learning Enhanced Resolution-wise Features for Human Pose Estimation"
    (Zhang et al.), section 3.2, equations 4 to 6. From the lowest map on,
    each map is upsampled by a deconvolution and by interpolation, the two are
    added, concatenated with the next higher map and reduced to its channels;
    a last 3x3 convolution follows. The heatmaps of equation 6 come from the
    head (the configs give MMPose's ``HeatmapHead`` a final 3x3 convolution).

    The paper names no kernel sizes, widths or norms. What is built here is
    inferred: 4x4 deconvolution + BN + ReLU, bilinear interpolation + 1x1
    convolution + BN, 3x3 reduction + BN + ReLU. It meets all parameter and
    MAC counts of the paper's table 1 after rounding.

    Args:
        in_channels (Sequence[int]): Channels of the maps, from high to low
            resolution, at least two; each map has half the size (rounded up)
            of the one before it.
        norm_cfg (dict): Config of the normalization. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict | list[dict], optional): Config of the initialization.
            Defaults to ``None``, which is mmcv's Kaiming initialization of
            ``ConvModule``.

    Raises:
        ValueError: If ``in_channels`` is not a list, tuple or array of at
            least two positive integers.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        norm_cfg: dict = dict(type='BN'),
        init_cfg: OptMultiConfig = None,
    ):
        super().__init__(init_cfg)
        in_channels = check_channels(in_channels)
        self.in_channels = in_channels
        # Step k merges map k + 1 into map k.
        self.steps = nn.ModuleList(
            RefinementStep(low, high, norm_cfg)
            for high, low in zip(in_channels, in_channels[1:])
        )
        self.out = ConvModule(
            in_channels[0], in_channels[0], 3, padding=1, norm_cfg=norm_cfg
        )
        apply_init_cfg_to_convs(self)

    def forward(self, feats: Sequence[Tensor]) -> Tuple[Tensor]:
        """Merge the maps.

        Args:
            feats (Sequence[Tensor]): Maps of shape (N, C_i, H_i, W_i), from
                high to low resolution.

        Returns:
            tuple[Tensor]: One map of shape (N, C_0, H_0, W_0).

        Raises:
            ValueError: If the maps do not fit ``in_channels``, or one is not
                half as large as the one before it.
        """
        check_maps(feats, self.in_channels)
        x = feats[-1]
        for step, high in zip(reversed(self.steps), reversed(feats[:-1])):
            x = step(x, high)
        return (self.out(x),)
