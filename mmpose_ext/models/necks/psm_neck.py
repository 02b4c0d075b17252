"""Pixel shuffle modules over a backbone's maps."""

from typing import Sequence, Tuple

from mmengine.model import BaseModule, ModuleList
from mmpose.registry import MODELS
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor, nn

from ..layers.checks import check_channels, check_maps
from ..layers.pixel_shuffle_fusion import (
    PixelShuffleFusion,
    PixelShuffleUpsample,
)


@MODELS.register_module()
class PSMNeck(BaseModule):
    """Merge maps two by two, from low to high, by Pixel Shuffle Modules.

    "Joint COCO and Mapillary Workshop at ICCV 2019: Pixel Shuffle Module for
    Human Pose Estimation" (Liu et al.), section 2.2, over the maps of any
    backbone: from the lowest map on, ``x = ReLU(PSM(x, X_k))`` for each higher
    map X_k, whose channels x takes. See
    :class:`~mmpose_ext.models.layers.PixelShuffleFusion` for the module.

    The report predicts at half the size of the input. Maps at strides 4 to 32
    get there with ``upsample_to_half``, or by merging a map of stride 2, as
    ``StemHRNet(with_stem_map=True)`` returns it: it is the first entry of
    ``in_channels`` then.

    Args:
        in_channels (Sequence[int]): Channels of the maps, from high to low
            resolution, at least two; each map has half the size (rounded up)
            of the one before it.
        upsample_to_half (bool): Whether one more module, which has no higher
            map to merge, doubles the size of the highest map: from 1/4 to 1/2
            of the input. Defaults to ``False``.
        expansion (str): Filters before the pixel shuffle: ``'full'`` or
            ``'literal'``, see there. Defaults to ``'full'``.
        norm_cfg (dict): Config of the normalization. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict | list[dict], optional): Config of the initialization.
            The convolutions without a norm are left out of it. Defaults to
            ``None``, which is torch's own.

    Raises:
        ValueError: If ``in_channels`` is not a list, tuple or array of at
            least two positive integers, or ``expansion`` is unknown, or
            ``'literal'`` and the channels of a higher map are odd.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        upsample_to_half: bool = False,
        expansion: str = 'full',
        norm_cfg: dict = dict(type='BN'),
        init_cfg: OptMultiConfig = None,
    ):
        super().__init__(init_cfg)
        in_channels = check_channels(in_channels)
        self.in_channels = in_channels
        # Step k merges map k + 1 into map k.
        self.steps = ModuleList(
            PixelShuffleFusion(high, [low], expansion, norm_cfg=norm_cfg)
            for high, low in zip(in_channels, in_channels[1:])
        )
        self.up = None
        if upsample_to_half:
            self.up = PixelShuffleUpsample(
                in_channels[0], in_channels[0], 2, expansion, norm_cfg=norm_cfg
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, feats: Sequence[Tensor]) -> Tuple[Tensor]:
        """Merge the maps.

        Args:
            feats (Sequence[Tensor]): Maps of shape (N, C_i, H_i, W_i), from
                high to low resolution.

        Returns:
            tuple[Tensor]: One map of shape (N, C_0, H_0, W_0), or
            (N, C_0, 2 H_0, 2 W_0) with ``upsample_to_half``.

        Raises:
            ValueError: If the maps do not fit ``in_channels``, or one is not
                half as large as the one before it.
        """
        check_maps(feats, self.in_channels)
        x = feats[-1]
        for step, high in zip(reversed(self.steps), reversed(feats[:-1])):
            x = self.relu(step(high, [x]))
        if self.up is not None:
            x = self.relu(self.up(x))
        return (x,)
