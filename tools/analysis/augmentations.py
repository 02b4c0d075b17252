"""Draw training samples as the network gets them, in one picture.

Shows what the training pipeline of any MMPose config does to images and
keypoints, before the data preprocessor normalises them.
"""

import argparse
from pathlib import Path

import mmpose_ext  # noqa: F401  # isort: skip  first: it mends the others
import cv2
from rich.console import Console
from rich.progress import Progress

from mmpose_ext.analysis.augmentations import (
    arrange,
    draw_samples,
    load_training_set,
)
from mmpose_ext.checks import check_output_file
from mmpose_ext.engine.arguments import positive_int
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import write_atomic

_SUFFIXES = ('.png', '.jpg', '.jpeg')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        help='path, base name of a config of mmpose_ext or MMPose, or '
        'PACKAGE::PATH',
    )
    parser.add_argument(
        '--out', required=True, help='picture to write, PNG or JPEG by suffix'
    )
    parser.add_argument(
        '--num',
        type=positive_int,
        default=12,
        help='number of samples (default: 12)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='not negative (default: 0)'
    )
    parser.add_argument(
        '--cols',
        type=positive_int,
        default=6,
        help='samples in a row (default: 6)',
    )
    parser.add_argument(
        '--heatmaps',
        action='store_true',
        help='show the target heatmaps below the samples',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an existing --out'
    )
    return parser.parse_args()


def main():
    args = parse_args()
    suffix = Path(args.out).suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(
            f"--out '{args.out}': expected a name that ends in "
            + ', '.join(_SUFFIXES)
        )
    if not 0 <= args.seed < 2**32:
        raise InputError(f'--seed {args.seed}: expected 0 to 2^32 - 1')
    check_output_file(args.out, args.overwrite)
    cfg = load_config(args.config)
    dataset = load_training_set(cfg, args.config)

    tiles = draw_samples(cfg, dataset, args.num, args.seed, args.heatmaps)
    with Progress(console=Console(stderr=True)) as progress:
        tiles = list(
            progress.track(tiles, total=args.num, description='drawing')
        )
    picture = cv2.imencode(suffix, arrange(tiles, args.cols))[1]
    write_atomic(args.out, picture.tobytes())
    print(f'{args.num} of {len(dataset)} training samples: {args.out}')


if __name__ == '__main__':
    run_tool(main)
