"""HRNet's module with a replaceable fusion."""

from typing import List

from mmpose.models.backbones.hrnet import HRModule
from torch import Tensor


class FusionHRModule(HRModule):
    """MMPose's ``HRModule``, whose subclass says how maps are fused.

    The arguments and the state-dict keys are those of ``HRModule``.
    """

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
        return [
            self.relu(self._fuse(x, i)) for i in range(len(self.fuse_layers))
        ]

    def _fuse(self, x: List[Tensor], i: int) -> Tensor:
        """Add up the maps of all branches at the resolution of branch ``i``.

        The ReLU comes afterwards.
        """
        raise NotImplementedError
