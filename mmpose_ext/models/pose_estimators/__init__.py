from .fused_flip_bottomup_pose_estimator import FusedFlipBottomupPoseEstimator
from .fused_flip_topdown_pose_estimator import FusedFlipTopdownPoseEstimator
from .keypoint_head import keypoint_head

__all__ = [
    'FusedFlipBottomupPoseEstimator',
    'FusedFlipTopdownPoseEstimator',
    'keypoint_head',
]
