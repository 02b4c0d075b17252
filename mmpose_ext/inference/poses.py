"""The poses of the persons of one image, with any top-down model."""

import numpy as np
from mmengine.config import Config
from mmengine.structures import InstanceData
from mmpose.apis import inference_topdown, init_model
from mmpose.models import TopdownPoseEstimator
from torch import nn

from ..engine.checks import explain_unknown_types, load_checkpoint_strictly
from ..errors import InputError


def load_pose_model(config: Config, checkpoint: str, device: str) -> nn.Module:
    """Build a top-down model like MMPose's ``init_model``, but strictly.

    Args:
        config (Config): The config of a top-down pose estimator.
        checkpoint (str): File or URL of its weights.
        device (str): Where it runs.

    Returns:
        nn.Module: The model, as ``inference_topdown`` takes it.

    Raises:
        InputError: If a type in the config is unknown, the model is not a
            top-down one, or the weights do not fit.
    """
    with explain_unknown_types(config):
        model = init_model(config, device='cpu')
    if not isinstance(model, TopdownPoseEstimator):
        raise InputError(
            f'{config.filename} is a {type(model).__name__}, expected a '
            'TopdownPoseEstimator'
        )
    meta = load_checkpoint_strictly(model, checkpoint).get('meta', {})
    model.dataset_meta = meta.get('dataset_meta', model.dataset_meta)
    return model.to(device)


def estimate_poses(
    model: nn.Module,
    image: np.ndarray,
    boxes: np.ndarray,
    batch_size: int = 32,
) -> InstanceData:
    """Estimate the pose in each box of an image.

    Args:
        model (nn.Module): See :func:`load_pose_model`.
        image (np.ndarray): BGR image of shape (H, W, 3).
        boxes (np.ndarray): Of shape (N, 5): x1, y1, x2, y2 and a score.
        batch_size (int): Persons per step. Defaults to 32.

    Returns:
        InstanceData: ``keypoints`` of shape (N, K, 2) in pixels of the image,
        ``keypoint_scores`` of shape (N, K), ``bboxes`` of shape (N, 4) and
        ``bbox_scores``, a list of N numbers.
    """
    found = [
        sample.pred_instances
        for i in range(0, len(boxes), batch_size)
        for sample in inference_topdown(
            model, image, boxes[i : i + batch_size, :4]
        )
    ]
    k = model.dataset_meta['num_keypoints']
    return InstanceData(
        keypoints=np.concatenate(
            [np.empty((0, k, 2)), *(f.keypoints for f in found)]
        ),
        keypoint_scores=np.concatenate(
            [np.empty((0, k)), *(f.keypoint_scores for f in found)]
        ),
        bboxes=boxes[:, :4],
        bbox_scores=boxes[:, 4].tolist(),
    )
