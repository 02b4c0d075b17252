from mmpose.models import TopdownPoseEstimator
from mmpose.registry import MODELS

from .fused_flip import FusedFlip


@MODELS.register_module()
class FusedFlipTopdownPoseEstimator(FusedFlip, TopdownPoseEstimator):
    """MMPose's ``TopdownPoseEstimator`` with a flip test in one pass.

    The images and their mirror images go through backbone and neck as one
    batch of 2 N instead of as two of N, after which any head of MMPose
    predicts from the two halves as usual: the same poses (to rounding) from
    the same weights, with fewer and larger steps for the device.

    The arguments are those of ``TopdownPoseEstimator``.
    """
