from .fused_flip import (
    FusedFlipBottomupPoseEstimator,
    FusedFlipTopdownPoseEstimator,
)

__all__ = [
    'FusedFlipBottomupPoseEstimator',
    'FusedFlipTopdownPoseEstimator',
]
