"""The poses of the persons of one image, with any model of MMPose's."""

import reprlib
from typing import Optional

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from mmpose.apis import inference_bottomup, inference_topdown, init_model
from mmpose.datasets.transforms import BottomupResize
from mmpose.models import BottomupPoseEstimator, TopdownPoseEstimator
from mmpose.registry import MODELS
from torch import nn

from ..arguments import not_nan, positive_int
from ..checks import explain_unknown_types, load_checkpoint_strictly
from ..errors import InputError

_LARGEST_SIDE = 2**15 - 2


def load_pose_model(config: Config, checkpoint: str, device: str) -> nn.Module:
    """Build a model like MMPose's ``init_model``, but strictly.

    Args:
        config (Config): The config of a pose estimator, top-down or
            bottom-up.
        checkpoint (str): File or URL of its weights.
        device (str): Where it runs.

    Returns:
        nn.Module: The model, as :func:`estimate_poses` takes it.

    Raises:
        InputError: If the config has no model or no test pipeline, a type in
            it is unknown, the model is neither a top-down nor a bottom-up
            one, or the weights do not fit.
    """
    for key in ('model', 'test_dataloader'):
        if not config.get(key):
            raise InputError(
                f'{config.filename} is not the config of a pose estimator: '
                f"expected a '{key}' in it"
            )
    _share_scope(config)
    with explain_unknown_types(config):
        # Before it is built: MMPose cannot read the data of other models.
        kind = _class_of(config)
        if not issubclass(kind, (TopdownPoseEstimator, BottomupPoseEstimator)):
            raise InputError(
                f'{config.filename} is a {kind.__name__}, expected a '
                'TopdownPoseEstimator or a BottomupPoseEstimator'
            )
        model = init_model(config, device='cpu')
    meta = load_checkpoint_strictly(model, checkpoint).get('meta', {})
    model.dataset_meta = meta.get('dataset_meta', model.dataset_meta)
    number = model.dataset_meta.get('num_keypoints')
    if not isinstance(number, int):
        raise InputError(
            f"checkpoint '{checkpoint}': expected an integer as "
            f"'num_keypoints' of its dataset_meta, got {number!r:.80}"
        )
    return model.to(device)


def _share_scope(config: Config) -> None:
    """Remove the scope from steps where it is that of the config.

    While a step with a scope is built, which MMPose does for each image, the
    scope of all threads is swapped: another one may then fail to build.
    """
    scope = config.get('default_scope', 'mmpose')
    for step in config.test_dataloader.get('dataset', {}).get('pipeline', ()):
        if step.get('_scope_') == scope:
            del step['_scope_']


def _class_of(config: Config) -> type:
    """The class of a config's model."""
    model = config.model
    kind = model.get('type') if isinstance(model, dict) else None
    if not kind:
        raise InputError(
            f"{config.filename}: expected a 'model' with the type of a pose "
            f'estimator, got {reprlib.repr(model)}'
        )
    if isinstance(kind, type):
        return kind
    scope = config.get('default_scope', 'mmpose')
    with MODELS.switch_scope_and_registry(scope) as registry:
        found = registry.get(kind)
    if found is None:
        raise KeyError(f'{kind} is not in the {scope}::model registry')
    return found


def is_bottomup(model: nn.Module) -> bool:
    """Whether a model finds the persons itself, without boxes."""
    return isinstance(model, BottomupPoseEstimator)


def estimate_poses(
    model: nn.Module,
    image: np.ndarray,
    boxes: Optional[np.ndarray] = None,
    batch_size: int = 32,
    score_thr: float = 0.0,
) -> InstanceData:
    """Estimate the poses of an image.

    Args:
        model (nn.Module): See :func:`load_pose_model`.
        image (np.ndarray): BGR image of shape (H, W, 3).
        boxes (np.ndarray, optional): For a top-down model, the persons, of
            shape (N, 5): x1, y1, x2, y2 and a score. Defaults to ``None``,
            the whole image as one person with score 1.
        batch_size (int): Persons per step of a top-down model. Defaults to
            32.
        score_thr (float): Persons of a lower score are left out. Defaults
            to 0.

    Returns:
        InstanceData: ``keypoints`` of shape (N, K, 2) in pixels of the image,
        ``keypoint_scores`` of shape (N, K), ``bboxes`` of shape (N, 4) and
        ``bbox_scores``, a list of N numbers. Where a bottom-up model has no
        boxes or no scores of persons, these are the extent of all keypoints
        and their mean score.

    Raises:
        ValueError: If a bottom-up model is given boxes, ``batch_size`` is
            not a positive integer, or ``score_thr`` is not a number.
        InputError: If the image, or the input that a bottom-up model makes
            of it, is larger than 32766 pixels a side.
    """
    positive_int('batch_size', batch_size)
    not_nan('score_thr', score_thr)
    _check_side('an image', *image.shape[1::-1])
    if is_bottomup(model):
        if boxes is not None:
            raise ValueError(
                f'got {len(boxes)} boxes for a bottom-up model, expected None'
            )
        poses = _bottomup(model, image)
        return poses[np.array(poses.bbox_scores) >= score_thr]
    if boxes is None:
        height, width = image.shape[:2]
        boxes = np.array([[0, 0, width, height, 1]], dtype=np.float32)
    return _topdown(model, image, boxes[boxes[:, 4] >= score_thr], batch_size)


def _topdown(
    model: nn.Module, image: np.ndarray, boxes: np.ndarray, batch_size: int
) -> InstanceData:
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


def _bottomup(model: nn.Module, image: np.ndarray) -> InstanceData:
    # inference_topdown does this itself.
    init_default_scope(model.cfg.get('default_scope', 'mmpose'))
    _check_input(model, image)
    (sample,) = inference_bottomup(model, image)
    found = sample.pred_instances.numpy()
    k = model.dataset_meta['num_keypoints']
    keypoints = found.keypoints.reshape(-1, k, 2)
    keypoint_scores = found.keypoint_scores.reshape(-1, k)
    extents = np.concatenate([keypoints.min(axis=1), keypoints.max(axis=1)], 1)
    scores = found.get('bbox_scores', keypoint_scores.mean(axis=1))
    return InstanceData(
        keypoints=keypoints,
        keypoint_scores=keypoint_scores,
        bboxes=found.get('bboxes', extents),
        bbox_scores=np.asarray(scores).tolist(),
    )


def _check_input(model: nn.Module, image: np.ndarray) -> None:
    """Check the size of the input before it takes gigabytes.

    MMPose's recipes resize by the short side, so that the input of an image
    of 2000 x 2 pixels is 512,000 wide.
    """
    pipeline = Compose(model.cfg.test_dataloader.dataset.pipeline)
    for step in pipeline.transforms:
        if isinstance(step, BottomupResize):
            size = step._get_input_size(image.shape[1::-1], step.input_size)
            _check_side('an input', *size[1])


def _check_side(what: str, width: int, height: int) -> None:
    if max(width, height) > _LARGEST_SIDE:
        raise InputError(
            f'{what} of {width} x {height} px is too large: OpenCV warps at '
            f'most {_LARGEST_SIDE} px a side'
        )
