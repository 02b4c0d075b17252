"""Global context after a backbone."""

from typing import Sequence, Tuple, Union

from mmengine.model import BaseModule, ModuleList
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptMultiConfig
from torch import Tensor


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
            gets one of its own.
        init_cfg (dict | list[dict], optional): Config of the initialization.
            Defaults to ``None``, which leaves it to the modules.

    Raises:
        ValueError: If ``in_channels`` is empty.
    """

    def __init__(
        self,
        in_channels: Union[int, Sequence[int]],
        context: ConfigType,
        init_cfg: OptMultiConfig = None,
    ):
        super().__init__(init_cfg)
        if isinstance(in_channels, int):
            in_channels = [in_channels]
        if not in_channels:
            raise ValueError('in_channels must hold the channels of a map')
        self.in_channels = list(in_channels)
        self.contexts = ModuleList(
            MODELS.build(dict(context, in_channels=c)) for c in in_channels
        )

    def forward(self, feats: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Enrich the maps.

        Args:
            feats (Sequence[Tensor]): Maps of shape (N, C_i, H_i, W_i).

        Returns:
            tuple[Tensor]: As many maps, of the same shapes.

        Raises:
            ValueError: If the maps are not those that ``in_channels``
                announces.
        """
        channels = [x.shape[1] for x in feats]
        if channels != self.in_channels:
            raise ValueError(
                f'expected maps of {self.in_channels} channels, got maps of '
                f'shape (C, H, W) {[tuple(x.shape[1:]) for x in feats]}'
            )
        return tuple(context(x) for context, x in zip(self.contexts, feats))
