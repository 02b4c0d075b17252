"""Global context by two steps down and two steps up."""

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor, nn

from ...arguments import positive_int
from .checks import check_batch_norm, check_map


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
        ValueError: If an argument is not a positive integer, or a map is not
            of shape (N, C, H, W); in training, if a batch norm would see a
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
        check_batch_norm(self, x, 4)
        half = self.encoder1(x)
        quarter = self.encoder2(half)
        up = self.decoder2(_join(half, quarter))
        return self.decoder1(_join(x, up))


def _join(high: Tensor, low: Tensor) -> Tensor:
    """A map and a smaller one, brought to its size, as one of all channels."""
    low = F.interpolate(
        low, high.shape[-2:], mode='bilinear', align_corners=False
    )
    return torch.cat([high, low], dim=1)
