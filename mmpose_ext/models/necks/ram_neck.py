"""Resolution-wise attention over the maps of any backbone."""

from typing import Optional, Sequence, Tuple

from mmpose.registry import MODELS
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor, nn

from ..layers.checks import check_channels, check_maps
from ..layers.ram_hr_module import RAMHRModule


@MODELS.register_module()
class RAMNeck(RAMHRModule):
    """One Resolution-wise Attention Module over a backbone's maps.

    Section 3.1 of "Learning Enhanced Resolution-wise Features for Human Pose
    Estimation" (Zhang et al.), applied once: each output is the weighted sum
    of all maps, brought to its resolution by the paths of HRNet's fusion (1x1
    convolution, normalization and nearest upsampling from lower maps, a chain
    of strided 3x3 convolutions from higher ones), followed by ReLU.

    Args:
        in_channels (Sequence[int]): Channels of the maps, from high to low
            resolution, at least two; each map has half the size (rounded up)
            of the one before it.
        multiscale_output (bool): Whether to return all maps, or only the
            highest. Defaults to ``True``.
        conv_cfg (dict, optional): Config of the convolutions. Defaults to
            ``None``, which is ``Conv2d``.
        norm_cfg (dict): Config of the normalization. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict | list[dict], optional): Config of the initialization.
            Defaults to ``None``, which is PyTorch's.

    Raises:
        ValueError: If ``in_channels`` is not a list, tuple or array of at
            least two positive integers.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        multiscale_output: bool = True,
        conv_cfg: Optional[dict] = None,
        norm_cfg: dict = dict(type='BN'),
        init_cfg: OptMultiConfig = None,
    ):
        in_channels = check_channels(in_channels)
        # Without branches, only the length of num_blocks matters.
        super().__init__(
            num_branches=len(in_channels),
            blocks=None,
            num_blocks=in_channels,
            in_channels=list(in_channels),
            num_channels=in_channels,
            multiscale_output=multiscale_output,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
        )

    def _make_branches(self, num_branches: int, *args) -> nn.ModuleList:
        """The backbone has taken the place of the branches."""
        return nn.ModuleList(nn.Identity() for _ in range(num_branches))

    def forward(self, feats: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Fuse the maps.

        Args:
            feats (Sequence[Tensor]): Maps of shape (N, C_i, H_i, W_i), from
                high to low resolution.

        Returns:
            tuple[Tensor, ...]: Maps shaped as the inputs, or only the first.

        Raises:
            ValueError: If the maps do not fit ``in_channels``, or one is not
                half as large as the one before it.
        """
        check_maps(feats, self.in_channels)
        return tuple(super().forward(feats))
