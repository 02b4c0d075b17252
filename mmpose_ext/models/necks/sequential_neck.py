"""Necks one behind the other."""

from typing import Sequence, Tuple

from mmengine.model import BaseModule, ModuleList
from mmengine.utils import is_seq_of
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptMultiConfig
from torch import Tensor

from ..layers.initialization import apply_init_cfg_to_convs


@MODELS.register_module()
class SequentialNeck(BaseModule):
    """Several necks as one: each takes the maps of the one before it.

    An estimator of MMPose has one neck. This joins some of them, such as
    MMPose's ``ChannelMapper``, ``RAMNeck`` and ``GPRNeck``.

    Args:
        necks (Sequence[dict]): Configs of at least one neck.
        init_cfg (dict | list[dict], optional): Config of the initialization.
            Defaults to ``None``, which leaves it to the necks.

    Raises:
        ValueError: If ``necks`` is not a list or tuple of configs.
    """

    def __init__(
        self, necks: Sequence[ConfigType], init_cfg: OptMultiConfig = None
    ):
        super().__init__(init_cfg)
        if not (necks and is_seq_of(necks, dict)):
            raise ValueError(
                'necks must be a list or tuple of at least one config, got '
                f'{necks!r}'
            )
        self.necks = ModuleList(MODELS.build(neck) for neck in necks)
        apply_init_cfg_to_convs(self)

    def forward(self, feats: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Run the necks.

        Args:
            feats (Sequence[Tensor]): Maps of shape (N, C_i, H_i, W_i), as the
                first neck takes them.

        Returns:
            tuple[Tensor, ...]: The maps of the last neck.
        """
        for neck in self.necks:
            feats = neck(feats)
        return feats
