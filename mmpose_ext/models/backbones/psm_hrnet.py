"""HRNet with pixel shuffle modules."""

from functools import partial
from typing import List, Tuple

import torch
from mmengine.model import ModuleList, Sequential
from mmpose.models.backbones.hrnet import HRModule
from mmpose.registry import MODELS
from torch import Tensor

from ..layers.pixel_shuffle_fusion import PixelShuffleFusion
from .stem_hrnet import StemHRNet


class PSMHRModule(HRModule):
    """HRNet's module whose fusion upsamples by pixel shuffle.

    The arguments are those of MMPose's ``HRModule`` and ``expansion`` of
    :class:`~mmpose_ext.models.layers.PixelShuffleFusion`. State-dict keys
    stay those of ``HRModule`` but for the upsampling paths, in whose place
    there is ``fusions.{i}``. Weights of a plain ``HRModule`` are converted
    when they are loaded: see :class:`PSMHRNet`.

    Raises:
        ValueError: If HRNet is told to upsample in another way than
            ``'nearest'``, for which there is no place here.
    """

    def __init__(self, *args, expansion: str = 'full', **kwargs):
        super().__init__(*args, **kwargs)
        if self.upsample_cfg['mode'] != 'nearest':
            raise ValueError(
                "extra['upsample'] must be 'nearest' or left out, as pixel "
                f'shuffle takes its place, got {self.upsample_cfg}'
            )
        self.expansion = expansion
        self.fusions = ModuleList()
        # All outputs but the one at the lowest resolution.
        for i, paths in zip(
            range(self.num_branches - 1), self.fuse_layers or ()
        ):
            lower = range(i + 1, self.num_branches)
            for j in lower:
                paths[j] = None
            self.fusions.append(
                PixelShuffleFusion(
                    self.in_channels[i],
                    [self.in_channels[j] for j in lower],
                    expansion,
                    self.conv_cfg,
                    self.norm_cfg,
                )
            )
        self._register_load_state_dict_pre_hook(self._convert)

    def forward(self, x: List[Tensor]) -> List[Tensor]:
        """Run the branches and fuse them.

        Args:
            x (list[Tensor]): One map of shape (N, C_j, H_j, W_j) per branch,
                from high to low resolution.

        Returns:
            list[Tensor]: One map per output branch, shaped as the inputs.
        """
        if self.num_branches == 1:
            return super().forward(x)
        x = [branch(xj) for branch, xj in zip(self.branches, x)]
        outputs = []
        for i, paths in enumerate(self.fuse_layers):
            down = [path(xj) for path, xj in zip(paths, x[:i])]
            if i < len(self.fusions):
                y = self.fusions[i](x[i], x[i + 1 :], down)
            else:
                y = sum([*down, x[i]])
            outputs.append(self.relu(y))
        return outputs

    def _convert(self, state_dict: dict, prefix: str, *_) -> None:
        """Replace plain upsampling paths by fusions that do the same."""
        for i, fusion in enumerate(self.fusions):
            new = f'{prefix}fusions.{i}.'
            for k, up in enumerate(fusion.ups):
                old = f'{prefix}fuse_layers.{i}.{i + 1 + k}.'
                plain = {
                    key[len(old) :]: state_dict.pop(key)
                    for key in list(state_dict)
                    if key.startswith(old)
                }
                if not plain or self.expansion != 'full':
                    continue
                # All r x r cells of an output channel are to be alike.
                cells = up[2].upscale_factor ** 2
                for key, value in plain.items():
                    if value.ndim:  # all but BN's count of batches
                        value = value.repeat_interleave(cells, 0)
                    state_dict[f'{new}ups.{k}.{key}'] = value
                identity = torch.eye(fusion.high.out_channels)
                for conv in (f'{new}ups.{k}.3', f'{new}high'):
                    state_dict[f'{conv}.weight'] = identity[..., None, None]
                    state_dict[f'{conv}.bias'] = torch.zeros(len(identity))


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
    ``expansion='full'`` they are converted, so that the network starts as
    that HRNet: it gives the same maps, in training and in evaluation, and
    every parameter learns from there. With ``'literal'``, whose modules
    cannot do what HRNet's upsampling does, the upsampling weights are left
    out and the modules keep their start. Own weights load as they are.

    The other arguments are those of MMPose's ``HRNet``, except that
    ``extra.upsample`` cannot be bilinear, as it is in HRNetV2's configs: a
    pixel shuffle can only start as nearest upsampling. Maps need not be of
    even sizes. Set ``extra.stage4.multiscale_output=True`` where a neck needs
    all four maps.

    Args:
        expansion (str): Filters before the pixel shuffle: ``'full'`` or
            ``'literal'``, as told there. Defaults to ``'full'``.
        stem_stride (int): Stride of the highest map, 2 or 4. Defaults to 4.
        with_stem_map (bool): Whether to give the stem's map at half the size
            of the input before the others. Defaults to ``False``.

    Raises:
        ValueError: If ``expansion`` is unknown, or ``'literal'`` and a number
            of channels cannot be divided by the ratio of resolutions; if
            ``extra['upsample']`` asks for another mode than ``'nearest'``;
            and as :class:`StemHRNet` does.
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

    def _make_stage(self, *args, **kwargs) -> Tuple[Sequential, List[int]]:
        """Build one stage in MMEngine's container.

        It hands ``init_weights`` on to the fusions, which torch's does not.
        """
        stage, channels = super()._make_stage(*args, **kwargs)
        return Sequential(*stage), channels
