from typing import Optional

from torch import nn


def keypoint_head(model: nn.Module) -> Optional[nn.Module]:
    """The head of a pose estimator that makes the keypoints.

    MMPose's ``VisPredictHead`` has it inside, as ``pose_head``, beside the
    layers for the keypoints' visibility.

    Args:
        model (nn.Module): The pose estimator.

    Returns:
        nn.Module | None: The head, whose ``decoder`` is the codec; None for a
        model without a head.
    """
    head = getattr(model, 'head', None)
    return getattr(head, 'pose_head', head)
