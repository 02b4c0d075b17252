"""MobileNetV1, with the dilated form that pose machines use."""

from typing import Sequence, Tuple

from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmpose.models.backbones.base_backbone import BaseBackbone
from mmpose.models.backbones.utils import make_divisible
from mmpose.registry import MODELS
from mmpose.utils.typing import OptConfigType, OptMultiConfig
from torch import Tensor, nn

from ...arguments import each, non_negative_int, one_of, positive
from ..layers.initialization import apply_init_cfg_to_convs

_KAIMING = (
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
)


@MODELS.register_module()
class MobileNetV1(BaseBackbone):
    """MobileNetV1: a 3x3 convolution and 13 depthwise-separable ones.

    `MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
    Applications <https://arxiv.org/abs/1704.04861>`_, table 1, without its
    pooling and classifier. ``out_indices=(3,), output_stride=8`` is the
    backbone of `Global Context for Convolutional Pose Machines
    <https://arxiv.org/abs/1906.04104>`_, section 3.1: it ends at conv5_5, the
    stride of conv4_2 is removed and the depthwise convolution after it is
    dilated by 2.

    The layers form five stages; stage k halves the map of the one before it,
    unless ``output_stride`` forbids:

    ===== ====== ========= ===================
    index stride channels  separable layers
    ===== ====== ========= ===================
    0     2      64        1 (and the first 3x3)
    1     4      128       2
    2     8      256       2
    3     16     512       6
    4     32     1024      2
    ===== ====== ========= ===================

    Args:
        widen_factor (float): Factor of all channels, which are then rounded
            to multiples of 8. Defaults to 1.0.
        out_indices (Sequence[int]): Stages whose maps are returned, from high
            to low resolution. What follows the last of them is not built.
            Defaults to ``(4,)``.
        output_stride (int): 4, 8, 16 or 32. Where a stage would exceed it, its
            stride is removed and its second depthwise convolution is dilated
            by all the strides removed so far; the ones behind that are not
            dilated, as in the pose machine. Defaults to 32.
        frozen_stages (int): Stages 0 to this one are not trained; -1 for
            none. Defaults to -1.
        conv_cfg (dict, optional): Config of the convolutions. Defaults to
            ``None``, which is ``Conv2d``.
        norm_cfg (dict): Config of the normalization. Defaults to
            ``dict(type='BN')``.
        act_cfg (dict): Config of the activation. Defaults to
            ``dict(type='ReLU')``.
        norm_eval (bool): Whether batch norms keep their running statistics
            while training. Defaults to ``False``.
        init_cfg (dict | list[dict], optional): Config of the initialization.
            Defaults to Kaiming for convolutions and 1 for norms.

    Raises:
        ValueError: If an argument is out of its range.
    """

    # Channels and number of separable convolutions per stage.
    stage_settings = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (4,),
        output_stride: int = 32,
        frozen_stages: int = -1,
        conv_cfg: OptConfigType = None,
        norm_cfg: dict = dict(type='BN'),
        act_cfg: dict = dict(type='ReLU'),
        norm_eval: bool = False,
        init_cfg: OptMultiConfig = _KAIMING,
    ):
        # MMEngine takes a list of configs, not a tuple.
        super().__init__(
            list(init_cfg) if isinstance(init_cfg, tuple) else init_cfg
        )
        widen_factor = positive('widen_factor', widen_factor)
        out_indices = each(non_negative_int, 'out_indices', out_indices)
        for index in out_indices:
            one_of('out_indices', index, range(len(self.stage_settings)))
        one_of('frozen_stages', frozen_stages, range(-1, max(out_indices) + 1))
        one_of('output_stride', output_stride, (4, 8, 16, 32))
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

        layer_cfg = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        in_channels = make_divisible(32 * widen_factor, 8)
        self.stem = ConvModule(
            3, in_channels, 3, stride=2, padding=1, **layer_cfg
        )
        self.stages = nn.ModuleList()
        stride, removed = 2, 1
        for channels, depth in self.stage_settings[: max(out_indices) + 1]:
            channels = make_divisible(channels * widen_factor, 8)
            first_stride, dilation = 1, 1
            if len(self.stages):  # the first stage has the stem's stride
                if stride < output_stride:
                    first_stride = 2
                    stride *= 2
                else:
                    removed *= 2
                    dilation = removed
            layers = []
            for i in range(depth):
                d = dilation if i == 1 else 1
                layers.append(
                    DepthwiseSeparableConvModule(
                        in_channels,
                        channels,
                        3,
                        stride=first_stride if i == 0 else 1,
                        padding=d,
                        dilation=d,
                        norm_cfg=norm_cfg,
                        act_cfg=act_cfg,
                        conv_cfg=conv_cfg,
                    )
                )
                in_channels = channels
            self.stages.append(nn.Sequential(*layers))
        self._freeze_stages()
        if init_cfg is not _KAIMING:
            apply_init_cfg_to_convs(self)

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Maps of an image.

        Args:
            x (Tensor): Images of shape (N, 3, H, W).

        Returns:
            tuple[Tensor]: The maps of ``out_indices``, of shape
            (N, C_i, H_i, W_i).
        """
        x = self.stem(x)
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in (self.stem, *self.stages[: self.frozen_stages + 1]):
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'MobileNetV1':
        """Set the mode; frozen stages and, if asked, norms stay in eval."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
