"""What MMEngine's ``init_cfg`` does not reach by itself."""

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule


def apply_init_cfg_to_convs(module: BaseModule) -> None:
    """Let the ``init_cfg`` of a module decide over its ``ConvModule`` parts.

    MMEngine initializes by ``init_cfg`` first and then calls the
    ``init_weights`` of the children. That of MMCV's ``ConvModule`` sets
    Kaiming weights once more. Without an ``init_cfg`` that is the default;
    with one, the convolutions keep what it says.

    Args:
        module (BaseModule): The module, as the last step of its constructor.
    """
    if module.init_cfg:
        for part in module.modules():
            if isinstance(part, ConvModule):
                part.is_init = True
