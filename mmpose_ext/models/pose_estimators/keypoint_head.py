from typing import Optional

from torch import nn


def keypoint_head(model: nn.Module) -> Optional[nn.Module]:
    """The head of a pose estimator that predicts the keypoints.

    MMPose's ``VisPredictHead``, which adds the keypoints' visibility, wraps
    it as ``pose_head``.

    Args:
        model (nn.Module): The pose estimator.

    Returns:
        nn.Module | None: The head, whose ``decoder`` is the codec; None for a
        model without a head.
    """
    head = getattr(model, 'head', None)
    return getattr(head, 'pose_head', head)
