"""What the demos share."""

import argparse
import math
import sys
from pathlib import Path
from typing import Callable, Dict, Optional, Sequence, Tuple

import numpy as np
from mmengine.device import get_device
from mmengine.structures import InstanceData
from rich.console import Console
from rich.progress import Progress
from torch import nn

from .arguments import finite
from .deploy import PoseModel
from .deploy.runtimes import is_exported
from .engine.arguments import finite_number, positive_int, usable_device
from .engine.config import load_config
from .errors import InputError
from .files import write_jpeg, write_json
from .inference.files import IMAGE_SUFFIXES, read_image
from .inference.image_run import ImageRun
from .inference.outputs import Outputs
from .inference.persons import PersonDetector
from .inference.poses import estimate_poses, is_bottomup, load_pose_model
from .inference.shipped import DEFAULT_MODEL, find_shipped


def add_image_arguments(
    parser: argparse.ArgumentParser, batch_size: int, step: str
) -> None:
    """Add the input, the outputs and the batch size of a demo of images."""
    parser.add_argument('input', help='image, folder of images, or glob')
    parser.add_argument(
        '--out-dir',
        default='poses',
        help='pictures go to its folder visualizations, JSON to predictions '
        '(default: poses)',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace existing outputs'
    )
    parser.add_argument(
        '--resume', action='store_true', help='skip images with outputs'
    )
    parser.add_argument(
        '--batch-size',
        type=positive_int,
        default=batch_size,
        help=f'{step} (default: {batch_size})',
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the models, and :func:`add_result_arguments`."""
    parser.add_argument(
        'pose_config',
        nargs='?',
        type=_no_second_input,
        default=DEFAULT_MODEL,
        help='config of a pose model, or a file of tools/deploy/export.py '
        f'(default: {DEFAULT_MODEL}, which is for one person)',
    )
    parser.add_argument(
        'pose_checkpoint',
        nargs='?',
        help='file or URL of its weights; an exported file has them in it, '
        'and those of mmpose_ext/weights are found by the name of the config',
    )
    parser.add_argument(
        '--det-config',
        help="config of one of MMDet's models, to find the persons of a "
        'top-down pose model',
    )
    parser.add_argument('--det-checkpoint', help='file or URL of its weights')
    add_result_arguments(parser, '; of an exported file cpu')


def _no_second_input(name: str) -> str:
    """An argument after the input, which a shell may have made of a glob."""
    suffixes = (*IMAGE_SUFFIXES, '.avi', '.mov', '.mp4')
    if Path(name).suffix.lower() in suffixes:
        raise argparse.ArgumentTypeError(
            f"'{name}' is a second input, expected one: a folder, or a glob "
            "in quotes, such as '*.jpg'"
        )
    return name


def add_result_arguments(
    parser: argparse.ArgumentParser, device_note: str = ''
) -> None:
    """Add the thresholds and the device, with a note to its default."""
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
        help=f'default: {get_device()}{device_note}',
    )


def load_models(
    args: argparse.Namespace,
) -> Tuple[nn.Module, Optional[PersonDetector]]:
    """Load the pose model of the arguments, and the detector or None.

    The ``device`` of the arguments becomes the one in use if none was given.

    Raises:
        InputError: If a model cannot be loaded, a detector lacks its config
            or weights, or the pose model needs no detector.
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
    # Without --score-thr: PoseEstimation reports the scores below it, too.
    detector = PersonDetector(
        load_config(args.det_config), args.det_checkpoint, args.device
    )
    return model, detector


def _load_pose_model(args: argparse.Namespace) -> nn.Module:
    config, checkpoint = args.pose_config, args.pose_checkpoint
    if not is_exported(config):
        if checkpoint is None:
            config, checkpoint = map(str, find_shipped(config))
        return load_pose_model(
            load_config(config), checkpoint, args.device or get_device()
        )
    if checkpoint is not None:
        raise InputError(
            f'{config} has its weights in it: leave out {checkpoint}'
        )
    return PoseModel(config, args.device or 'cpu').model


class ScoreThreshold:
    """Who scores enough, with a hint if nobody does in any image.

    Args:
        score_thr (float): The lowest score that is enough.

    Raises:
        ValueError: If ``score_thr`` is not a finite number.
    """

    def __init__(self, score_thr: float):
        self.score_thr = finite('score_thr', score_thr)
        self._highest = -math.inf
        self._images = 0

    def select(self, scores: Sequence[float]) -> np.ndarray:
        """Which of the N persons of an image score enough, bool (N,)."""
        self._images += 1
        self._highest = max([self._highest, *scores])
        return np.asarray(scores) >= self.score_thr

    def report_nobody(self) -> None:
        """Say on stderr why, if no image had a person who scores enough."""
        if self._images == 0 or self._highest >= self.score_thr:
            return
        if self._highest == -math.inf:
            hint = 'no person was found, whatever the score'
        else:
            hint = (
                f'no person scored at least {self.score_thr:g}: the highest '
                f'score was {self._highest:.3g}, see --score-thr'
            )
        print(hint, file=sys.stderr)


class PoseEstimation(ScoreThreshold):
    """The poses of the persons of images who score enough.

    Args:
        model (nn.Module): See :func:`load_pose_model`.
        score_thr (float): Persons of a lower score are left out.
        batch_size (int): Persons per step of a top-down model. Defaults to
            32.

    Raises:
        ValueError: If ``score_thr`` is not a finite number.
    """

    def __init__(
        self, model: nn.Module, score_thr: float, batch_size: int = 32
    ):
        super().__init__(score_thr)
        self.model = model
        self.batch_size = batch_size

    def __call__(
        self, image: np.ndarray, boxes: Optional[np.ndarray] = None
    ) -> InstanceData:
        """Call :func:`estimate_poses`, but with the threshold."""
        if boxes is None:
            poses = estimate_poses(self.model, image, score_thr=-math.inf)
            return poses[self.select(poses.bbox_scores)]
        boxes = boxes[self.select(boxes[:, 4])]
        return estimate_poses(
            self.model, image, boxes, self.batch_size, -math.inf
        )


def describe_keypoints(dataset_meta: dict) -> dict:
    """What a file of poses says of its keypoints."""
    return {
        'dataset_name': dataset_meta['dataset_name'],
        'keypoint_names': list(dataset_meta['keypoint_id2name'].values()),
        'skeleton_links': dataset_meta['skeleton_links'],
    }


def draw_images(
    args: argparse.Namespace,
    outputs: Dict[Path, Outputs],
    dataset_meta: dict,
    find: Callable[[Dict[Path, np.ndarray]], list],
    draw: Callable[[tuple], Tuple[list, np.ndarray]],
    threshold: ScoreThreshold,
) -> None:
    """Write the picture and the JSON of each image, then a summary.

    Images that fail are skipped, see :class:`ImageRun`.

    Args:
        args (argparse.Namespace): With :func:`add_image_arguments`.
        outputs (Dict[Path, Outputs]): See :func:`plan_outputs`.
        dataset_meta (dict): The ``dataset_meta`` of the pose model.
        find (Callable): From a batch of images by path to what each has, to
            be passed to ``draw``.
        draw (Callable): From an image and what ``find`` has for it to the
            persons, as entries of the JSON file, and the picture.
        threshold (ScoreThreshold): What ``draw`` selects persons by.
    """
    meta = describe_keypoints(dataset_meta)
    todo, persons = list(outputs), 0
    run = ImageRun(args.input, len(todo))
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task('Finding persons', total=len(todo))
        for i in range(0, len(todo), args.batch_size):
            batch = todo[i : i + args.batch_size]
            images = dict(run.each(read_image, dict(zip(batch, batch))))
            found = run.batch(find, images)
            items = {path: (images[path], found[path]) for path in found}
            for path, (instances, picture) in run.each(draw, items):
                write_jpeg(outputs[path].picture, picture)
                height, width = images[path].shape[:2]
                image = dict(image=str(path), width=width, height=height)
                content = dict(
                    meta_info={**meta, **image}, instance_info=instances
                )
                write_json(outputs[path].prediction, content)
                persons += len(instances)
            progress.advance(bar, len(batch))
    threshold.report_nobody()
    print(f'{persons} persons in {run.done} images: {args.out_dir}')
    run.finish()
