"""What the demos have in common."""

import argparse
import math
from typing import Optional, Tuple

import numpy as np
from mmengine.device import get_device
from mmengine.structures import InstanceData
from torch import nn

from .arguments import finite, positive_int
from .deploy import PoseModel
from .deploy.runtimes import is_exported
from .engine.arguments import finite_number, usable_device
from .engine.config import load_config
from .errors import InputError
from .inference.outputs import report_nobody
from .inference.persons import PersonDetector
from .inference.poses import estimate_poses, is_bottomup, load_pose_model


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the models and of what is drawn of theirs."""
    parser.add_argument(
        'pose_config',
        help='config of a pose model, or a file of tools/deploy/export.py',
    )
    parser.add_argument(
        'pose_checkpoint',
        nargs='?',
        help='file or URL of its weights; an exported file has them in it',
    )
    parser.add_argument(
        '--det-config',
        help="config of one of MMDet's models, to find the persons of a "
        'top-down pose model',
    )
    parser.add_argument('--det-checkpoint', help='file or URL of its weights')
    add_result_arguments(parser)


def add_result_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every demo can do with what it finds, and where it runs."""
    parser.add_argument(
        '--score-thr',
        type=finite_number,
        default=0.3,
        help='leave out persons with a lower score (default: 0.3)',
    )
    parser.add_argument(
        '--kpt-thr',
        type=finite_number,
        default=0.3,
        help='do not draw keypoints with a lower score (default: 0.3)',
    )
    parser.add_argument(
        '--device',
        type=usable_device,
        help=f'default: {get_device()}; of an exported file cpu',
    )


def load_models(
    args: argparse.Namespace,
) -> Tuple[nn.Module, Optional[PersonDetector]]:
    """Load what :func:`add_model_arguments` names.

    Args:
        args (argparse.Namespace): The arguments; its ``device`` becomes the
            one in use if it was not given.

    Returns:
        tuple: The pose model, and the detector or None.

    Raises:
        InputError: If a model cannot be loaded, or a detector is named by
            half or together with a pose model that needs none.
    """
    if (args.det_config is None) != (args.det_checkpoint is None):
        raise InputError('--det-config and --det-checkpoint belong together')
    model = _load_pose_model(args)
    args.device = args.device or get_device()
    if args.det_config is None:
        return model, None
    if is_bottomup(model):
        raise InputError(
            f'{args.pose_config} is of a bottom-up model, which finds the '
            f'persons itself: leave out --det-config {args.det_config}'
        )
    # Without --score-thr, which is for PoseEstimation: it tells of the scores
    # below.
    detector = PersonDetector(
        load_config(args.det_config), args.det_checkpoint, args.device
    )
    return model, detector


def _load_pose_model(args: argparse.Namespace) -> nn.Module:
    config, checkpoint = args.pose_config, args.pose_checkpoint
    if not is_exported(config):
        if checkpoint is None:
            raise InputError(f'{config} needs a pose_checkpoint, got none')
        return load_pose_model(
            load_config(config), checkpoint, args.device or get_device()
        )
    if checkpoint is not None:
        raise InputError(
            f'{config} has its weights in it: leave out {checkpoint}'
        )
    return PoseModel(config, args.device or 'cpu').model


class PoseEstimation:
    """The persons of images who score enough, and a hint if none ever does.

    Args:
        model (nn.Module): See :func:`load_pose_model`.
        score_thr (float): Persons of a lower score are left out.
        batch_size (int): Persons per step of a top-down model. Defaults to
            32.

    Raises:
        ValueError: If ``score_thr`` is no finite number, or ``batch_size`` no
            whole number above 0.

    Attributes:
        highest (float): The highest score of a person in all images so far,
            minus infinity where there was none.
    """

    def __init__(
        self, model: nn.Module, score_thr: float, batch_size: int = 32
    ):
        self.model = model
        self.score_thr = finite('score_thr', score_thr)
        self.batch_size = positive_int('batch_size', batch_size)
        self.highest = -math.inf
        self._images = 0

    def __call__(
        self, image: np.ndarray, boxes: Optional[np.ndarray] = None
    ) -> InstanceData:
        """Estimate the poses of an image.

        Args:
            image (np.ndarray): BGR image of shape (H, W, 3).
            boxes (np.ndarray, optional): The persons of a top-down model,
                see :func:`estimate_poses`. Defaults to ``None``.

        Returns:
            InstanceData: As of :func:`estimate_poses`.
        """
        if boxes is None:
            poses = estimate_poses(self.model, image, score_thr=-math.inf)
            scores = np.array(poses.bbox_scores)
            poses = poses[scores >= self.score_thr]
        else:  # these have scores before poses, which take their time
            scores = boxes[:, 4]
            poses = estimate_poses(
                self.model, image, boxes, self.batch_size, self.score_thr
            )
        self._images += 1
        self.highest = max([self.highest, *scores])
        return poses

    def report_nobody(self) -> None:
        """Tell why on stderr, if no image had a person who scores enough."""
        if self._images:
            report_nobody(self.highest, self.score_thr)


def describe_keypoints(dataset_meta: dict) -> dict:
    """The part of a file of poses that tells what its keypoints are.

    Args:
        dataset_meta (dict): The ``dataset_meta`` of the pose model.
    """
    return {
        'dataset_name': dataset_meta['dataset_name'],
        'keypoint_names': list(dataset_meta['keypoint_id2name'].values()),
        'skeleton_links': dataset_meta['skeleton_links'],
    }
