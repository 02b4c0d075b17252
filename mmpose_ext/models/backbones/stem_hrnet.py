"""HRNet with a choice of its stem."""

from typing import Tuple

from mmpose.registry import MODELS
from torch import Tensor

from ...arguments import one_of
from .modular_hrnet import ModularHRNet


@MODELS.register_module()
class StemHRNet(ModularHRNet):
    """HRNet whose stem keeps more resolution, or also returns its map.

    The other arguments, the weights and their names are those of MMPose's
    ``HRNet``.

    Args:
        stem_stride (int): Stride of the highest map: 4 as in HRNet, or 2,
            where the second convolution of the stem has stride 1. All maps
            are then twice as high and wide, at four times the operations.
            Defaults to 4.
        with_stem_map (bool): Whether to also return, before the others, the
            map between the two convolutions of the stem: 64 channels at half
            the size of the input. Defaults to ``False``.

    Raises:
        ValueError: If ``stem_stride`` is neither 2 nor 4, or is 2 with
            ``with_stem_map``: the stem's map would be no larger than the
            highest one.
    """

    def __init__(
        self,
        *args,
        stem_stride: int = 4,
        with_stem_map: bool = False,
        **kwargs,
    ):
        one_of('stem_stride', stem_stride, (2, 4))
        if with_stem_map and stem_stride == 2:
            raise ValueError(
                'with_stem_map needs stem_stride=4: with stem_stride=2, the '
                'highest map is as large as that of the stem'
            )
        super().__init__(*args, **kwargs)
        if stem_stride == 2:
            self.conv2.stride = (1, 1)
        self.with_stem_map = with_stem_map

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Compute the maps.

        Args:
            x (Tensor): Images of shape (N, C, H, W).

        Returns:
            tuple[Tensor, ...]: Maps from high to low resolution: the stem's
            with ``with_stem_map``; the highest; the three lower ones with
            ``extra.stage4.multiscale_output``.
        """
        if not self.with_stem_map:
            return super().forward(x)
        stem = []
        with self.conv2.register_forward_pre_hook(
            lambda _, inputs: stem.append(inputs[0])
        ):
            maps = super().forward(x)
        return (*stem, *maps)
