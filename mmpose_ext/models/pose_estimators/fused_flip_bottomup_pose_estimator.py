from mmpose.models import BottomupPoseEstimator
from mmpose.registry import MODELS

from .fused_flip import FusedFlip


@MODELS.register_module()
class FusedFlipBottomupPoseEstimator(FusedFlip, BottomupPoseEstimator):
    """MMPose's ``BottomupPoseEstimator`` with a flip test in one pass.

    See :class:`FusedFlipTopdownPoseEstimator`. With ``multiscale_test`` there
    is one pass for each scale.

    The arguments are those of ``BottomupPoseEstimator``.
    """
