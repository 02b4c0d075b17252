"""HRNet with a choice of its stem."""

from typing import Tuple

from mmpose.registry import MODELS
from torch import Tensor

from ...arguments import one_of
from .modular_hrnet import ModularHRNet


@MODELS.register_module()
class StemHRNet(ModularHRNet):
    """HRNet whose stem keeps more resolution, or gives its map away.

    The other arguments, the weights and their names are those of MMPose's
    ``HRNet``.

    Args:
        stem_stride (int): Stride of the highest map: 4 as in HRNet, or 2,
            where the second convolution of the stem has stride 1. All maps
            are twice as high and wide then, at four times the operations.
            Defaults to 4.
        with_stem_map (bool): Whether to give, before the others, the map
            between the two convolutions of the stem: 64 channels at half the
            size of the input. Defaults to ``False``.

    Raises:
        ValueError: If ``stem_stride`` is neither 2 nor 4, or
            ``with_stem_map`` is asked for where ``stem_stride`` is 2 and the
            stem's map is no larger than the highest one.
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
            tuple[Tensor, ...]: Maps from high to low resolution: where asked
            for, that of the stem; the highest; where
            ``extra.stage4.multiscale_output`` is set, the three lower ones.
        """
        if not self.with_stem_map:
            return super().forward(x)
        stem = []
        with self.conv2.register_forward_pre_hook(
            lambda _, inputs: stem.append(inputs[0])
        ):
            maps = super().forward(x)
        return (*stem, *maps)
