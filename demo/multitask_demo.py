"""Find the boxes, masks and keypoints of persons in images, and draw them.

One multi-task R-CNN (configs/multitask_rcnn) finds them all.
"""

import argparse
import math
from types import ModuleType
from typing import Tuple

import mmpose_ext  # noqa: F401  # isort: skip  first: it mends the others
import numpy as np
from mmengine.device import get_device
from mmengine.structures import InstanceData
from rich.console import Console
from rich.progress import Progress

from mmpose_ext.demos import (
    add_result_arguments,
    describe_keypoints,
)
from mmpose_ext.engine.arguments import positive_int
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import write_jpeg, write_json
from mmpose_ext.inference.files import list_images, read_image
from mmpose_ext.inference.image_run import ImageRun
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

    def draw_persons(item: tuple) -> Tuple[InstanceData, np.ndarray]:
        image, persons = item
        persons = persons[persons.scores >= args.score_thr]
        return persons, draw(image, persons)

    todo, number, highest = list(outputs), 0, -math.inf
    run = ImageRun(args.input, len(todo))
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task('Finding persons', total=len(todo))
        for i in range(0, len(todo), args.batch_size):
            batch = todo[i : i + args.batch_size]
            images = dict(run.each(read_image, dict(zip(batch, batch))))
            found = run.batch(
                lambda part: predict(list(part.values())), images
            )
            items = {path: (images[path], found[path]) for path in found}
            for path, (persons, picture) in run.each(draw_persons, items):
                highest = max([highest, *found[path].scores])
                write_jpeg(outputs[path].picture, picture)
                height, width = images[path].shape[:2]
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
            progress.advance(bar, len(batch))
    if run.done:
        report_nobody(highest, args.score_thr)
    print(f'{number} persons in {run.done} images: {args.out_dir}')
    run.finish()


if __name__ == '__main__':
    run_tool(main)
