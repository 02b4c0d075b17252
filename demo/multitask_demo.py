"""Find the boxes, masks and keypoints of persons in images, and draw them.

One multi-task R-CNN (configs/multitask_rcnn) finds them all.
"""

import argparse
import math
from types import ModuleType

import mmpose_ext  # noqa: F401  # isort: skip  first: it mends the others
from mmengine.device import get_device
from rich.console import Console
from rich.progress import Progress

from mmpose_ext.engine.arguments import positive_int
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import write_jpeg, write_json
from mmpose_ext.inference.demos import (
    add_result_arguments,
    describe_keypoints,
    list_images,
)
from mmpose_ext.inference.files import read_image
from mmpose_ext.inference.outputs import plan_outputs, report_nobody


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('input', help='image, folder of images, or glob')
    parser.add_argument('config', help='config of a multi-task model')
    parser.add_argument('checkpoint', help='file or URL of its weights')
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
        '--batch-size',
        type=positive_int,
        default=1,
        help='images per step, whose masks are all in memory (default: 1)',
    )
    add_result_arguments(parser)
    return parser.parse_args(argv)


def import_inference() -> ModuleType:
    """What needs MMDet, which need not be installed."""
    try:
        from mmpose_ext.multitask import inference
    except ImportError as e:
        raise InputError(str(e)) from e
    return inference


def main(argv=None) -> None:
    args = parse_args(argv)
    paths = list_images(args.input)
    outputs = plan_outputs(paths, args.out_dir, args.overwrite, args.resume)
    inference = import_inference()
    predict = inference.MultiTaskPredictor(
        load_config(args.config), args.checkpoint, args.device or get_device()
    )
    draw = inference.MultiTaskDrawer(predict.dataset_meta, args.kpt_thr)
    meta = describe_keypoints(predict.dataset_meta)

    todo, number, highest = list(outputs), 0, -math.inf
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task('Finding persons', total=len(todo))
        for i in range(0, len(todo), args.batch_size):
            batch = todo[i : i + args.batch_size]
            images = [read_image(path) for path in batch]
            for path, image, persons in zip(batch, images, predict(images)):
                highest = max([highest, *persons.scores])
                persons = persons[persons.scores >= args.score_thr]
                write_jpeg(outputs[path].picture, draw(image, persons))
                height, width = image.shape[:2]
                write_json(
                    outputs[path].prediction,
                    {
                        'meta_info': {
                            **meta,
                            'image': str(path),
                            'width': width,
                            'height': height,
                        },
                        'instance_info': inference.describe_persons(persons),
                    },
                )
                number += len(persons)
                progress.advance(bar)
    if todo:
        report_nobody(highest, args.score_thr)
    print(f'{number} persons in {len(todo)} images: {args.out_dir}')


if __name__ == '__main__':
    run_tool(main)
