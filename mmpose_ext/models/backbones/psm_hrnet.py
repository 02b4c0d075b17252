"""HRNet with pixel shuffle modules."""

from functools import partial

from mmpose.registry import MODELS

from ..layers.psm_hr_module import PSMHRModule
from .stem_hrnet import StemHRNet


@MODELS.register_module()
class PSMHRNet(StemHRNet):
    """HRNet with a Pixel Shuffle Module in every fusion.

    "Joint COCO and Mapillary Workshop at ICCV 2019: Pixel Shuffle Module for
    Human Pose Estimation" (Liu et al.), sections 2.1 and 2.2; see
    :class:`~mmpose_ext.models.layers.PixelShuffleFusion` for the reading taken
    of the module. It takes the place of the upsampling in all modules of
    HRNet's stages 2, 3 and 4. "HRNet on top of the highest resolution feature
    maps (1/2 of the input image)" is ``stem_stride=2``.

    Weights of a plain HRNet can be loaded in all usual ways. With
    ``expansion='full'`` they are converted, so that the network starts with
    the maps of that HRNet, in training and in evaluation. With
    ``'literal'``, whose modules cannot express HRNet's upsampling, the
    upsampling weights are dropped and the modules keep their
    initialisation. Weights of this class load unchanged.

    The other arguments are those of MMPose's ``HRNet``, except that
    ``extra.upsample`` cannot be bilinear, as it is in HRNetV2's configs: a
    pixel shuffle can only start as nearest upsampling. Maps need not be of
    even sizes. Set ``extra.stage4.multiscale_output=True`` where a neck needs
    all four maps.

    Args:
        expansion (str): Filters before the pixel shuffle: ``'full'`` or
            ``'literal'``, see there. Defaults to ``'full'``.
        stem_stride (int): Stride of the highest map, 2 or 4. Defaults to 4.
        with_stem_map (bool): Whether to also return the stem's map, at half
            the size of the input, before the others. Defaults to ``False``.

    Raises:
        ValueError: If ``expansion`` is unknown, or ``'literal'`` and a number
            of channels cannot be divided by the ratio of resolutions; if the
            mode of ``extra['upsample']`` is not ``'nearest'``; and as
            :class:`StemHRNet` does.
    """

    def __init__(
        self,
        *args,
        expansion: str = 'full',
        stem_stride: int = 4,
        with_stem_map: bool = False,
        **kwargs,
    ):
        self.module_cls = partial(PSMHRModule, expansion=expansion)
        super().__init__(
            *args,
            stem_stride=stem_stride,
            with_stem_map=with_stem_map,
            **kwargs,
        )
