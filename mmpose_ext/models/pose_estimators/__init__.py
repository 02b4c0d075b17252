from .fused_flip import (
    FusedFlipBottomupPoseEstimator,
    FusedFlipTopdownPoseEstimator,
)
from .keypoint_head import keypoint_head

__all__ = [
    'FusedFlipBottomupPoseEstimator',
    'FusedFlipTopdownPoseEstimator',
    'keypoint_head',
]
