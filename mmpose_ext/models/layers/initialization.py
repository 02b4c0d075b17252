"""An ``init_cfg`` for modules of MMCV's ``ConvModule``."""

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule


def apply_init_cfg_to_convs(module: BaseModule) -> None:
    """Keep ``ConvModule`` parts from undoing the ``init_cfg`` of a module.

    MMEngine applies ``init_cfg`` first and then calls ``init_weights`` of the
    children, where MMCV's ``ConvModule`` sets Kaiming weights again. This
    remains the default of a module without an ``init_cfg``.

    Args:
        module (BaseModule): The module, as the last step of its constructor.
    """
    if module.init_cfg:
        for part in module.modules():
            if isinstance(part, ConvModule):
                part.is_init = True
