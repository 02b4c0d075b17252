"""Find the boxes, masks and keypoints of persons in images, and draw them.

One multi-task R-CNN (configs/multitask_rcnn) finds them all.
"""

import argparse
from types import ModuleType
from typing import List, Tuple

import mmpose_ext  # noqa: F401  # isort: skip  first: it repairs the others
import numpy as np
from mmengine.device import get_device

from mmpose_ext.demos import (
    ScoreThreshold,
    add_image_arguments,
    add_result_arguments,
    draw_images,
)
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.inference.files import list_images
from mmpose_ext.inference.outputs import plan_outputs


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    add_image_arguments(
        parser, 1, 'images per step, whose masks are all in memory'
    )
    parser.add_argument('config', help='config of a multi-task model')
    parser.add_argument('checkpoint', help='file or URL of its weights')
    add_result_arguments(parser)
    return parser.parse_args(argv)


def import_inference() -> ModuleType:
    """Import what needs MMDet, an optional dependency."""
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
    threshold = ScoreThreshold(args.score_thr)

    def draw_persons(item: tuple) -> Tuple[List[dict], np.ndarray]:
        image, persons = item
        persons = persons[threshold.select(persons.scores)]
        return inference.describe_persons(persons), draw(image, persons)

    draw_images(
        args,
        outputs,
        predict.dataset_meta,
        lambda images: predict(list(images.values())),
        draw_persons,
        threshold,
    )


if __name__ == '__main__':
    run_tool(main)
