"""Global context after a backbone."""

from numbers import Integral
from typing import Sequence, Tuple, Union

from mmengine.model import BaseModule, ModuleList
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptMultiConfig
from torch import Tensor

from ...arguments import each, positive_int
from ..layers.checks import check_maps
from ..layers.initialization import apply_init_cfg_to_convs


@MODELS.register_module()
class ContextNeck(BaseModule):
    """A context module on each map of a backbone.

    `Global Context for Convolutional Pose Machines
    <https://arxiv.org/abs/1906.04104>`_, figure 4, left dotted rectangle:
    "right after the feature extractor". Any module that takes ``in_channels``
    and maps (N, C, H, W) to (N, C, H, W) will do; see
    :class:`~mmpose_ext.models.layers.UShapedContext`,
    :class:`~mmpose_ext.models.layers.ASPPContext` and
    :class:`~mmpose_ext.models.layers.PyramidPoolingContext`.

    Args:
        in_channels (int | Sequence[int]): Channels C_i of the maps, one number
            for a single map.
        context (dict): Config of the module, without ``in_channels``. Each map
            gets a separate one.
        init_cfg (dict | list[dict], optional): Config of the initialization.
            Defaults to ``None``, which leaves it to the modules.

    Raises:
        ValueError: If ``in_channels`` is neither a positive integer nor a
            list, tuple or array of some.
    """

    def __init__(
        self,
        in_channels: Union[int, Sequence[int]],
        context: ConfigType,
        init_cfg: OptMultiConfig = None,
    ):
        super().__init__(init_cfg)
        if isinstance(in_channels, Integral):
            in_channels = [positive_int('in_channels', in_channels)]
        self.in_channels = each(positive_int, 'in_channels', in_channels)
        self.contexts = ModuleList(
            MODELS.build(dict(context, in_channels=c))
            for c in self.in_channels
        )
        apply_init_cfg_to_convs(self)

    def forward(self, feats: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Enrich the maps.

        Args:
            feats (Sequence[Tensor]): Maps of shape (N, C_i, H_i, W_i).

        Returns:
            tuple[Tensor]: As many maps, of the same shapes.

        Raises:
            ValueError: If the maps do not fit ``in_channels``.
        """
        check_maps(feats, self.in_channels, halved=False)
        return tuple(context(x) for context, x in zip(self.contexts, feats))
