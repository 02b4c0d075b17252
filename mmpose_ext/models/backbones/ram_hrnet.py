"""HRNet with resolution-wise attention."""

from mmpose.registry import MODELS

from ..layers.ram_hr_module import RAMHRModule
from .modular_hrnet import ModularHRNet


@MODELS.register_module()
class RAMHRNet(ModularHRNet):
    """HRNet with a Resolution-wise Attention Module in every fusion.

    "Learning Enhanced Resolution-wise Features for Human Pose Estimation"
    (Zhang et al.), section 3.1; see
    :class:`~mmpose_ext.models.layers.ResolutionAttention` for the equations
    and how they are read here. It is in all eight modules of HRNet's
    stages 2, 3 and 4 and costs 8,904 parameters at width 32.

    The arguments are those of MMPose's ``HRNet``. Weights of a plain HRNet
    load into it (the keys ``*.attention.*`` are missing and keep their
    initial values), after which it returns the same maps as that HRNet.
    Set ``extra.stage4.multiscale_output=True`` where a neck needs all four
    maps, at strides 4 to 32.
    """

    module_cls = RAMHRModule
