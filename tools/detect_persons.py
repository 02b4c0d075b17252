"""Detect persons with an MMDet detector, for MMPose's ``bbox_file``."""

import argparse
from pathlib import Path

import mmpose_ext  # isort: skip  first: it repairs the others
import mmengine.dist as dist
from mmengine.config import Config, DictAction
from mmengine.device import get_device

from mmpose_ext.checks import check_output_file
from mmpose_ext.engine.arguments import (
    finite_number,
    non_negative_int,
    non_negative_number,
    positive_int,
    usable_device,
)
from mmpose_ext.engine.command_line import merge_cfg_options
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.inference import (
    PersonDetector,
    count_persons,
    describe_run,
    detect_to_file,
    evaluate_boxes,
    read_images,
)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help="config of one of MMDet's models")
    parser.add_argument('checkpoint', help='file or URL of its weights')
    parser.add_argument(
        '--ann-file',
        required=True,
        help='COCO annotation file that lists the images',
    )
    parser.add_argument(
        '--img-dir', required=True, help='folder of these images'
    )
    parser.add_argument(
        '--out', required=True, help='box file to write (JSON)'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an existing --out'
    )
    parser.add_argument(
        '--score-thr',
        type=finite_number,
        default=0.0,
        help='drop boxes with a lower score, in addition to those that the '
        'detector drops (default: 0)',
    )
    parser.add_argument(
        '--nms-thr',
        type=non_negative_number,
        help='after the suppression of the detector, drop person boxes that '
        'overlap a better one by a larger IoU (default: keep them)',
    )
    parser.add_argument(
        '--eval',
        action='store_true',
        help='print the AP of the boxes against those of --ann-file',
    )
    parser.add_argument(
        '--batch-size',
        type=positive_int,
        default=8,
        help='images per step (default: 8)',
    )
    parser.add_argument(
        '--num-workers',
        type=non_negative_int,
        default=2,
        help='processes that read images (default: 2)',
    )
    parser.add_argument(
        '--device',
        type=usable_device,
        default=get_device(),
        help='default: %(default)s',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. '
        'model.test_cfg.rcnn.score_thr=0.001',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='share the images between the processes of this launcher',
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS
    )
    return parser.parse_args(argv)


def start_group(config: Config, launcher: str) -> None:
    """Join the other processes of a launcher."""
    mmpose_ext.compat.setup_cpu_distributed(config, launcher)
    if launcher != 'none' and not dist.is_distributed():
        dist.init_dist(launcher)


def main(argv=None) -> None:
    args = parse_args(argv)
    check_output_file(args.out, args.overwrite)
    images = read_images(args.ann_file, args.img_dir)
    if args.eval and not count_persons(args.ann_file):
        raise InputError(
            f'{args.ann_file} has no boxes of persons to evaluate against'
        )
    config = load_config(args.config)
    merge_cfg_options(config, args.cfg_options)
    start_group(config, args.launcher)
    detector = PersonDetector(
        config,
        args.checkpoint,
        device=args.device,
        score_thr=args.score_thr,
        nms_thr=args.nms_thr,
    )
    run = describe_run(
        config,
        args.checkpoint,
        args.ann_file,
        img_dir=str(Path(args.img_dir).resolve()),
        score_thr=args.score_thr,
        nms_thr=args.nms_thr,
    )
    boxes = detect_to_file(
        detector, images, args.out, run, args.batch_size, args.num_workers
    )
    if not dist.is_main_process():
        return
    print(f'{len(boxes)} persons in {len(images)} images: {args.out}')
    if args.eval:
        ap = evaluate_boxes(args.ann_file, boxes)
        print(f'person AP {ap["AP"]:.3f}, AP@.5 {ap["AP50"]:.3f}')


if __name__ == '__main__':
    run_tool(main)
