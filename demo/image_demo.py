"""Estimate the poses of the persons in images, and draw them.

The persons are found by a detector (--det-config, --det-checkpoint), or read
from a file of boxes (--boxes, --ann-file); without either, each image is
taken as one person.
"""

import argparse
import glob
import os
from pathlib import Path
from typing import Callable, Dict, List, Sequence

import mmpose_ext  # noqa: F401  # isort: skip  first: it mends the others
import numpy as np
from mmengine.device import get_device
from mmpose.structures import split_instances
from rich.progress import Progress

from mmpose_ext.engine.arguments import positive_int, usable_device
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.inference import PersonDetector, read_boxes
from mmpose_ext.inference.drawing import PoseDrawer
from mmpose_ext.inference.files import (
    read_image,
    write_jpeg,
    write_json,
)
from mmpose_ext.inference.poses import estimate_poses, load_pose_model

_SUFFIXES = {'.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'}

# From paths and images to the persons of each, (N, 5).
Finder = Callable[[Sequence[Path], Sequence[np.ndarray]], List[np.ndarray]]


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('input', help='image, folder of images, or glob')
    parser.add_argument('pose_config', help='config of a top-down pose model')
    parser.add_argument('pose_checkpoint', help='file or URL of its weights')
    parser.add_argument('--det-config', help="config of one of MMDet's models")
    parser.add_argument('--det-checkpoint', help='file or URL of its weights')
    parser.add_argument(
        '--boxes', help='file of detect_persons.py, instead of a detector'
    )
    parser.add_argument(
        '--ann-file', help='COCO annotation file with the image ids of --boxes'
    )
    parser.add_argument(
        '--out-dir',
        required=True,
        help='pictures go to its folder visualizations, JSON to predictions',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace existing outputs'
    )
    parser.add_argument(
        '--resume', action='store_true', help='skip images with outputs'
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='leave out persons with a lower score (default: 0.3)',
    )
    parser.add_argument(
        '--kpt-thr',
        type=float,
        default=0.3,
        help='do not draw keypoints with a lower score (default: 0.3)',
    )
    parser.add_argument(
        '--batch-size',
        type=positive_int,
        default=8,
        help='images per step of the detector, persons per step of the pose '
        'model (default: 8)',
    )
    parser.add_argument(
        '--device',
        type=usable_device,
        default=get_device(),
        help='default: %(default)s',
    )
    return parser.parse_args(argv)


def list_images(pattern: str) -> List[Path]:
    """The images that an argument names: a file, a folder's, or a glob's."""
    if os.path.isdir(pattern):
        paths = sorted(Path(pattern).iterdir())
        paths = [p for p in paths if p.suffix.lower() in _SUFFIXES]
    elif os.path.isfile(pattern):
        paths = [Path(pattern)]
    else:
        paths = sorted(map(Path, glob.glob(pattern, recursive=True)))
        paths = [p for p in paths if p.is_file()]
    if not paths:
        raise InputError(
            f"no images at '{pattern}': expected an image, a folder with "
            f'{", ".join(sorted(_SUFFIXES))} files, or a glob that matches '
            'some'
        )
    return paths


def plan_outputs(paths: Sequence[Path], args) -> Dict[Path, Sequence[Path]]:
    """The picture and the JSON of each image that is to be done.

    Images of several folders keep their place below the common one.
    """
    root = Path(os.path.commonpath([p.parent for p in paths]))
    outputs: Dict[Path, Sequence[Path]] = {}
    taken: Dict[Path, Path] = {}
    for path in paths:
        place = path.relative_to(root).with_suffix('')
        if place in taken:
            raise InputError(
                f"'{taken[place]}' and '{path}' would have the same outputs; "
                'rename one of them'
            )
        taken[place] = path
        outputs[path] = (
            Path(args.out_dir, 'visualizations', f'{place}.jpg'),
            Path(args.out_dir, 'predictions', f'{place}.json'),
        )
        found = [p for p in outputs[path] if p.exists()]
        if len(found) == 2 and args.resume:
            del outputs[path]
        elif found and not (args.overwrite or args.resume):
            raise InputError(
                f"'{found[0]}' exists; give another --out-dir, --overwrite "
                'it, or --resume after it'
            )
    return outputs


def build_finder(args, paths: Sequence[Path]) -> Finder:
    """What finds the persons, by the arguments."""
    if (args.det_config is None) != (args.det_checkpoint is None):
        raise InputError('--det-config and --det-checkpoint belong together')
    if (args.boxes is None) != (args.ann_file is None):
        raise InputError('--boxes and --ann-file belong together')
    if args.det_config and args.boxes:
        raise InputError('give either --boxes or a detector, not both')
    if args.det_config:
        detector = PersonDetector(
            load_config(args.det_config),
            args.det_checkpoint,
            args.device,
            args.score_thr,
        )
        return lambda paths, images: detector(images)
    if args.boxes:
        return boxes_by_path(args, paths)
    return lambda paths, images: [whole_image(image) for image in images]


def boxes_by_path(args, paths: Sequence[Path]) -> Finder:
    boxes = read_boxes(args.boxes, args.ann_file)
    # An annotation file may name images below the folder of the input or
    # from a folder above it: what both have is the name itself.
    by_name = {Path(name).name: found for name, found in boxes.items()}
    if len(by_name) < len(boxes):
        raise InputError(
            f"'{args.ann_file}' has images of the same name in different "
            'folders, so that --boxes cannot be told apart'
        )
    for path in paths:
        if path.name not in by_name:
            raise InputError(f"'{args.ann_file}' does not list '{path}'")

    def find(paths, images):
        found = [by_name[path.name] for path in paths]
        return [boxes[boxes[:, 4] >= args.score_thr] for boxes in found]

    return find


def whole_image(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return np.array([[0, 0, width, height, 1]], dtype=np.float32)


def main(argv=None) -> None:
    args = parse_args(argv)
    paths = list_images(args.input)
    outputs = plan_outputs(paths, args)
    find_persons = build_finder(args, paths)
    model = load_pose_model(
        load_config(args.pose_config), args.pose_checkpoint, args.device
    )
    draw = PoseDrawer(model.dataset_meta, args.kpt_thr)
    meta = {
        'dataset_name': model.dataset_meta['dataset_name'],
        'keypoint_names': list(
            model.dataset_meta['keypoint_id2name'].values()
        ),
        'skeleton_links': model.dataset_meta['skeleton_links'],
    }

    todo, persons = list(outputs), 0
    with Progress() as progress:
        bar = progress.add_task('Estimating poses', total=len(todo))
        for i in range(0, len(todo), args.batch_size):
            batch = todo[i : i + args.batch_size]
            images = [read_image(path) for path in batch]
            found = find_persons(batch, images)
            for path, image, boxes in zip(batch, images, found):
                poses = estimate_poses(model, image, boxes, args.batch_size)
                picture, prediction = outputs[path]
                write_jpeg(picture, draw(image, poses))
                height, width = image.shape[:2]
                write_json(
                    prediction,
                    {
                        'meta_info': {
                            **meta,
                            'image': str(path),
                            'width': width,
                            'height': height,
                        },
                        'instance_info': split_instances(poses),
                    },
                )
                persons += len(boxes)
                progress.advance(bar)
    print(f'{persons} persons in {len(todo)} images: {args.out_dir}')


if __name__ == '__main__':
    run_tool(main)
