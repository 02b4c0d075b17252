"""Fusion of maps of several resolutions by pixel shuffle."""

from typing import Optional, Sequence

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import BaseModule, ModuleList, Sequential
from torch import Tensor, nn

from ...arguments import each, one_of, positive_int

_EXPANSIONS = ('full', 'literal')


def _start(conv: nn.Module) -> None:
    """Start a 1x1 convolution without a norm such that variance is kept.

    With a common small standard deviation, a signal would vanish in the
    fusions of a network.
    """
    if conv.in_channels == conv.out_channels:
        nn.init.dirac_(conv.weight)
    else:
        nn.init.kaiming_normal_(conv.weight, nonlinearity='linear')
    nn.init.zeros_(conv.bias)


class PixelShuffleUpsample(Sequential):
    r"""Upsample by pixel shuffle: the low path of a pixel shuffle module.

    1x1 convolution, normalization, pixel shuffle by ``ratio``, 1x1
    convolution with bias. With the expansion ``'full'`` the last one starts
    as the identity; whatever ``init_weights`` of a parent does, both start
    so that the signal keeps its size.

    Args:
        low_channels (int): Channels of the map to be upsampled.
        high_channels (int): Channels c of the output.
        ratio (int): Factor r between the two resolutions.
        expansion (str): Filters of the first convolution: ``'full'`` for
            :math:`r^2 c`, ``'literal'`` for :math:`r c`; see
            :class:`PixelShuffleFusion`. Defaults to ``'full'``.
        conv_cfg (dict, optional): Config of the convolutions. Defaults to
            ``None``, which is ``Conv2d``.
        norm_cfg (dict): Config of the normalization. Defaults to
            ``dict(type='BN')``.

    Raises:
        ValueError: If a number is not a positive integer, ``expansion`` is
            unknown, or ``'literal'`` and ``high_channels`` cannot be divided
            by ``ratio``.
    """

    def __init__(
        self,
        low_channels: int,
        high_channels: int,
        ratio: int,
        expansion: str = 'full',
        conv_cfg: Optional[dict] = None,
        norm_cfg: dict = dict(type='BN'),
    ):
        low_channels = positive_int('low_channels', low_channels)
        high_channels = positive_int('high_channels', high_channels)
        ratio = positive_int('ratio', ratio)
        one_of('expansion', expansion, _EXPANSIONS)
        if expansion == 'literal' and high_channels % ratio:
            raise ValueError(
                "with expansion='literal' the channels of the higher map "
                f'must be a multiple of the ratio {ratio}, got {high_channels}'
            )
        filters = ratio * high_channels
        if expansion == 'full':
            filters *= ratio
        super().__init__(
            build_conv_layer(conv_cfg, low_channels, filters, 1, bias=False),
            build_norm_layer(norm_cfg, filters)[1],
            nn.PixelShuffle(ratio),
            build_conv_layer(
                conv_cfg, filters // ratio**2, high_channels, 1, bias=True
            ),
        )
        _start(self[-1])

    def init_weights(self) -> None:
        """Initialise the weights; the last convolution starts afresh."""
        super().init_weights()
        _start(self[-1])


class PixelShuffleFusion(BaseModule):
    r"""Pixel Shuffle Module: add lower maps to a higher one.

    "Joint COCO and Mapillary Workshop at ICCV 2019: Pixel Shuffle Module for
    Human Pose Estimation" (Liu et al.), section 2.2. Every lower map goes
    through a 1x1 convolution, a pixel shuffle to the higher resolution and
    another 1x1 convolution, the higher map through a 1x1 convolution; the
    results are added up. No ReLU follows here.

    The report shows one link, from 2c to c channels over one octave, and does
    not say what follows. We assume: a norm after the first
    convolution, as HRNet has it; biases in the two others; one link of ratio
    :math:`r = 2^k` over k octaves; one convolution of the higher map,
    however many lower maps there are. Its sentence "changing their channels
    equal to the previous layer (c) by 1x1 convolution, with 2c filters"
    contradicts itself, as a shuffle by r divides the channels by
    :math:`r^2`. Hence two ``expansion``:

    - ``'full'``: :math:`r^2 c` filters, so that the channels *are* c after
      the shuffle. Repeated filters give HRNet's nearest upsampling.
    - ``'literal'``: 2c filters (:math:`r c` over k octaves), so that the
      shuffle leaves c/2 (:math:`c / r`), and the last convolution restores c.

    The convolutions behind which there is no norm start as the identity, or,
    where they change the number of channels, so that the variance stays.

    Args:
        high_channels (int): Channels c of the higher map and of the output.
        low_channels (Sequence[int]): Channels of the lower maps; the k-th,
            from 1, has :math:`1 / 2^k` of the higher map's size (rounded up).
        expansion (str): ``'full'`` or ``'literal'``, see above. Defaults to
            ``'full'``.
        conv_cfg (dict, optional): Config of the convolutions. Defaults to
            ``None``, which is ``Conv2d``.
        norm_cfg (dict): Config of the normalization. Defaults to
            ``dict(type='BN')``.

    Raises:
        ValueError: If a number is not a positive integer, ``expansion`` is
            unknown, or ``'literal'`` and ``high_channels`` cannot be divided
            by a ratio.
    """

    def __init__(
        self,
        high_channels: int,
        low_channels: Sequence[int],
        expansion: str = 'full',
        conv_cfg: Optional[dict] = None,
        norm_cfg: dict = dict(type='BN'),
    ):
        super().__init__()
        high_channels = positive_int('high_channels', high_channels)
        low_channels = each(positive_int, 'low_channels', low_channels)
        self.ups = ModuleList(
            PixelShuffleUpsample(
                low, high_channels, 2**k, expansion, conv_cfg, norm_cfg
            )
            for k, low in enumerate(low_channels, start=1)
        )
        self.high = build_conv_layer(
            conv_cfg, high_channels, high_channels, 1, bias=True
        )
        _start(self.high)

    def init_weights(self) -> None:
        """Initialise the weights; those without a norm start afresh."""
        super().init_weights()
        _start(self.high)

    def forward(
        self,
        high: Tensor,
        lows: Sequence[Tensor],
        others: Sequence[Tensor] = (),
    ) -> Tensor:
        """Add up all maps.

        Args:
            high (Tensor): The higher map, of shape (N, c, H, W).
            lows (Sequence[Tensor]): One map of shape (N, C_k, H_k, W_k) per
                entry of ``low_channels``. Where H or W is not a multiple of
                the ratio, what the shuffle makes too large is cropped.
            others (Sequence[Tensor]): Maps of the output's shape, which are
                added as they are. Defaults to ``()``.

        Returns:
            Tensor: The sum, of shape (N, c, H, W).
        """
        h, w = high.shape[-2:]
        # HRNet's order of summation, so that it rounds alike.
        return sum(
            [
                *others,
                self.high(high),
                *(up(low)[..., :h, :w] for up, low in zip(self.ups, lows)),
            ]
        )
