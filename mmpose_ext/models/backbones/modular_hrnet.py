"""HRNet with a replaceable module class."""

from typing import List, Sequence, Tuple, Type

from mmengine.model import Sequential
from mmpose.models.backbones.hrnet import HRModule, HRNet


class ModularHRNet(HRNet):
    """MMPose's HRNet, built of :attr:`module_cls` in the stages 2 to 4.

    MMPose's own class names ``HRModule`` inside ``_make_stage``. State-dict
    keys of what a subclass of ``HRModule`` inherits stay those of HRNet, so
    that HRNet's weights load.
    """

    module_cls: Type[HRModule] = HRModule

    def _make_stage(
        self,
        layer_config: dict,
        in_channels: Sequence[int],
        multiscale_output: bool = True,
    ) -> Tuple[Sequential, List[int]]:
        """Build one stage; only its last module may drop the lower maps."""
        modules = []
        last = layer_config['num_modules'] - 1
        for i in range(layer_config['num_modules']):
            modules.append(
                self.module_cls(
                    layer_config['num_branches'],
                    self.blocks_dict[layer_config['block']],
                    layer_config['num_blocks'],
                    in_channels,
                    layer_config['num_channels'],
                    multiscale_output=multiscale_output or i < last,
                    with_cp=self.with_cp,
                    conv_cfg=self.conv_cfg,
                    norm_cfg=self.norm_cfg,
                    upsample_cfg=self.upsample_cfg,
                )
            )
            in_channels = modules[-1].in_channels
        # MMEngine's calls init_weights of the modules; torch's does not.
        return Sequential(*modules), in_channels
