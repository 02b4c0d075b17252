"""Estimate the poses of the persons in images, and draw them.

A bottom-up model finds the persons itself. For a top-down one, as the default
is, they are found by a detector (--det-config, --det-checkpoint), or read from
a file of boxes (--boxes, --ann-file); without either, each image is taken as
one person.
"""

import argparse
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import mmpose_ext  # noqa: F401  # isort: skip  first: it repairs the others
import numpy as np
from mmpose.structures import split_instances
from torch import nn

from mmpose_ext.demos import (
    PoseEstimation,
    add_image_arguments,
    add_model_arguments,
    draw_images,
    load_models,
)
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.inference import PersonDetector, read_boxes
from mmpose_ext.inference.drawing import PoseDrawer
from mmpose_ext.inference.files import list_images
from mmpose_ext.inference.outputs import plan_outputs
from mmpose_ext.inference.poses import is_bottomup

# From images to the persons of each, (N, 5); None where the pose model takes
# the whole image.
Finder = Callable[[Dict[Path, np.ndarray]], List[Optional[np.ndarray]]]


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    add_image_arguments(
        parser,
        8,
        'images per step of the detector, persons per step of a top-down pose '
        'model',
    )
    add_model_arguments(parser)
    parser.add_argument(
        '--boxes', help='file of detect_persons.py, instead of a detector'
    )
    parser.add_argument(
        '--ann-file', help='COCO annotation file with the image ids of --boxes'
    )
    # The checkpoint may come after options.
    return parser.parse_intermixed_args(argv)


def check_boxes(args) -> None:
    if (args.boxes is None) != (args.ann_file is None):
        raise InputError('--boxes and --ann-file belong together')
    if args.det_config and args.boxes:
        raise InputError('give either --boxes or a detector, not both')


def build_finder(
    args,
    paths: Sequence[Path],
    model: nn.Module,
    detector: Optional[PersonDetector],
) -> Finder:
    """Build what finds the persons, from the arguments."""
    if detector is not None:
        return lambda images: detector(list(images.values()))
    if args.boxes and is_bottomup(model):
        raise InputError(
            f'{args.pose_config} is of a bottom-up model, which finds the '
            f'persons itself: leave out --boxes {args.boxes}'
        )
    if args.boxes:
        return boxes_by_path(args, paths)
    return lambda images: [None] * len(images)


def boxes_by_path(args, paths: Sequence[Path]) -> Finder:
    boxes = read_boxes(args.boxes, args.ann_file)
    # An annotation file may name images relative to another folder than the
    # input: only the names themselves can be compared.
    by_name = {Path(name).name: found for name, found in boxes.items()}
    if len(by_name) < len(boxes):
        raise InputError(
            f"'{args.ann_file}' has images of the same name in different "
            'folders, so it is unclear to which of them --boxes belong'
        )
    for path in paths:
        if path.name not in by_name:
            raise InputError(f"'{args.ann_file}' does not list '{path}'")

    return lambda images: [by_name[path.name] for path in images]


def main(argv=None) -> None:
    args = parse_args(argv)
    paths = list_images(args.input)
    outputs = plan_outputs(paths, args.out_dir, args.overwrite, args.resume)
    check_boxes(args)
    model, detector = load_models(args)
    find = build_finder(args, paths, model, detector)
    estimate = PoseEstimation(model, args.score_thr, args.batch_size)
    draw = PoseDrawer(model.dataset_meta, args.kpt_thr)

    def draw_poses(item: tuple) -> Tuple[List[dict], np.ndarray]:
        image, boxes = item
        poses = estimate(image, boxes)
        return split_instances(poses), draw(image, poses)

    draw_images(args, outputs, model.dataset_meta, find, draw_poses, estimate)


if __name__ == '__main__':
    run_tool(main)
