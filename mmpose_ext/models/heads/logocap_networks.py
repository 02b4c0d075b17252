"""The layers of LOGO-CAP's head: figure 3 of the paper, in its official sizes.

https://arxiv.org/abs/2109.03622
"""

from typing import List, Optional, Sequence

from mmcv.cnn import build_norm_layer
from mmpose.utils.typing import ConfigType
from torch import nn

from ...arguments import each, positive_int
from ..layers.attentive_norm2d import AttentiveNorm2d


def make_branch(
    in_channels: int,
    channels: int,
    norm_cfg: ConfigType,
    out_channels: Optional[int] = None,
) -> nn.Sequential:
    """A 1x1 convolution with norm and ReLU, and one to the outputs if any."""
    layers = _conv_norm_relu(in_channels, channels, norm_cfg, 1)
    if out_channels is not None:
        layers.append(nn.Conv2d(channels, out_channels, 1))
    return nn.Sequential(*layers)


def make_refinement(
    num_keypoints: int,
    embedding_channels: int,
    channels: Sequence[int],
    num_affines: int,
    norm_cfg: ConfigType,
) -> nn.Sequential:
    """From a person's codes (n, K * E, S, S) to how good points are.

    Maps (n, K, S, S), by three 3x3 convolutions, the second of which has an
    attentive norm, and a 1x1 convolution.
    """
    first, second, third = each(
        positive_int, 'refinement_channels', channels, 3
    )
    attentive = dict(type=AttentiveNorm2d, num_affines=num_affines)
    codes = num_keypoints * embedding_channels
    return nn.Sequential(
        *_conv_norm_relu(codes, first, norm_cfg, 3),
        *_conv_norm_relu(first, second, attentive, 3),
        *_conv_norm_relu(second, third, norm_cfg, 3),
        nn.Conv2d(third, num_keypoints, 1),
    )


def _conv_norm_relu(
    in_channels: int, out_channels: int, norm_cfg: ConfigType, kernel_size: int
) -> List[nn.Module]:
    norm = build_norm_layer(norm_cfg, out_channels)[1]
    padding = kernel_size // 2
    conv = nn.Conv2d(
        in_channels, out_channels, kernel_size, padding=padding, bias=False
    )
    return [conv, norm, nn.ReLU(inplace=True)]
