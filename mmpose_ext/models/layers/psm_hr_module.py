"""HRNet's module with pixel shuffle in its fusion."""

from typing import List

import torch
from mmengine.model import ModuleList
from torch import Tensor

from .fusion_hr_module import FusionHRModule
from .pixel_shuffle_fusion import PixelShuffleFusion


class PSMHRModule(FusionHRModule):
    """HRNet's module whose fusion upsamples by pixel shuffle.

    The arguments are those of MMPose's ``HRModule`` and ``expansion`` of
    :class:`~mmpose_ext.models.layers.PixelShuffleFusion`. State-dict keys
    are those of ``HRModule``, with ``fusions.{i}`` instead of the upsampling
    paths. Weights of a plain ``HRModule`` are converted when they are loaded:
    see :class:`~mmpose_ext.models.backbones.PSMHRNet`.

    Raises:
        ValueError: If the mode of ``upsample_cfg`` is not ``'nearest'``.
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

    def _fuse(self, x: List[Tensor], i: int) -> Tensor:
        """Add up the maps at the resolution of branch ``i``."""
        down = [path(xj) for path, xj in zip(self.fuse_layers[i], x[:i])]
        if i < len(self.fusions):
            return self.fusions[i](x[i], x[i + 1 :], down)
        return sum([*down, x[i]])

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
                # All r x r cells of an output channel are equal.
                cells = up[2].upscale_factor ** 2
                for key, value in plain.items():
                    if value.ndim:  # all but BN's count of batches
                        value = value.repeat_interleave(cells, 0)
                    state_dict[f'{new}ups.{k}.{key}'] = value
                identity = torch.eye(fusion.high.out_channels)
                for conv in (f'{new}ups.{k}.3', f'{new}high'):
                    state_dict[f'{conv}.weight'] = identity[..., None, None]
                    state_dict[f'{conv}.bias'] = torch.zeros(len(identity))
