"""Write the network of a pose model as a file of ONNX or OpenVINO.

The file runs without the config and the checkpoint, in PoseModel, the demos
and tools/test.py; the batch size is free, for bottom-up models the image size
too. It is compared with PyTorch on images first (--images, or drawn persons),
and not written if it differs by more than 1e-4.

With --int8, an 8-bit OpenVINO network is written, calibrated on a folder of
images, and tested on the config's test data, next to PyTorch.
"""

import argparse
import copy
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import mmpose_ext  # noqa: F401  # isort: skip  first: it repairs the others
import torch
from rich.console import Console
from rich.table import Table

from mmpose_ext.checks import (
    check_checkpoint_file,
    check_output_file,
    check_output_folder,
)
from mmpose_ext.deploy.accuracy import (
    check_model,
    find_accuracy,
    load_and_evaluate,
)
from mmpose_ext.deploy.export import (
    check_agreement,
    compare,
    export_model,
    quantize_model,
    record,
)
from mmpose_ext.deploy.formats import all_files, check_format
from mmpose_ext.deploy.network import PoseNetwork, kind_of
from mmpose_ext.deploy.runtimes import is_exported, require
from mmpose_ext.deploy.samples import (
    draw_samples,
    read_annotated_boxes,
    read_samples,
)
from mmpose_ext.engine.arguments import positive_int
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import naming_output
from mmpose_ext.inference.files import list_images
from mmpose_ext.inference.poses import load_pose_model

SUFFIXES = dict(onnx='.onnx', openvino='.xml')
# Images on which the exported model is compared with PyTorch.
COMPARED = 8


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config of a pose model')
    parser.add_argument('checkpoint', help='file or URL of its weights')
    parser.add_argument(
        '--format',
        choices=SUFFIXES,
        required=True,
        help='of the file to write',
    )
    parser.add_argument(
        '--out',
        help='file to write, .onnx or .xml (default: the name of the config, '
        'in the present folder); other files of the model go beside it',
    )
    parser.add_argument(
        '--images',
        help='image, folder or glob: up to 8 of them are what the file is '
        'compared with PyTorch on (default: those of --int8, or drawn '
        'persons)',
    )
    parser.add_argument(
        '--ann-file',
        help='COCO annotation file with the persons of --images and --int8 '
        'for a top-down model, for which else each image is one person',
    )
    parser.add_argument(
        '--int8',
        metavar='IMAGES',
        help='with --format openvino: quantise to 8 bits, with the '
        'activations of this folder, or glob, of images',
    )
    parser.add_argument(
        '--max-samples',
        type=positive_int,
        default=300,
        help='network inputs to calibrate with, at most; a flip test makes '
        'two of a person (default: 300)',
    )
    parser.add_argument(
        '--evaluate',
        action=argparse.BooleanOptionalAction,
        help="test the file and PyTorch on the config's test data (default: "
        'with --int8)',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace existing files'
    )
    args = parser.parse_args(argv)
    if args.evaluate is None:
        args.evaluate = args.int8 is not None
    return args


def output_path(args) -> Path:
    """The file to write, by the arguments."""
    suffix = SUFFIXES[args.format]
    if args.out is None:
        end = '-int8' if args.int8 else ''
        # Not its stem: base names may have a dot, and no suffix.
        name = Path(args.config).name.removesuffix('.py')
        return Path(f'{name}{end}{suffix}')
    if Path(args.out).suffix != suffix:
        raise InputError(
            f"--out '{args.out}' must end in {suffix} for --format "
            f'{args.format}'
        )
    return Path(args.out)


def load_samples(args, pattern: str, model):
    """The images that an argument names, or drawn ones."""
    top_down = kind_of(model) == 'topdown'
    if pattern is None:
        return draw_samples(COMPARED, top_down)
    boxes = read_annotated_boxes(args.ann_file) if args.ann_file else None
    if boxes is not None and not top_down:
        raise InputError(
            f'{args.config} is of a bottom-up model, which finds the persons '
            f'itself: leave out --ann-file {args.ann_file}'
        )
    return read_samples(list_images(pattern), boxes)


def check_arguments(args) -> Path:
    """Check all that can be checked before the model is loaded."""
    path = output_path(args)
    if is_exported(args.checkpoint):
        raise InputError(
            f"'{args.checkpoint}' is an exported file already, expected a "
            'checkpoint of PyTorch'
        )
    check_format(path)
    if args.int8:
        if args.format != 'openvino':
            raise InputError(
                f'--int8 needs --format openvino, got {args.format}'
            )
        require('nncf')
        list_images(args.int8)
    if args.images:
        list_images(args.images)
    if args.ann_file:
        if not (args.images or args.int8):
            raise InputError('--ann-file needs --images or --int8')
        boxes = read_annotated_boxes(args.ann_file)
        for pattern in filter(None, (args.images, args.int8)):
            next(read_samples(list_images(pattern), boxes))
    check_checkpoint_file(args.checkpoint)
    return path


def show(console: Console, what: str, before: dict, after: dict) -> None:
    """Print the metrics of PyTorch and of the file, and what was lost."""
    table = Table('', 'PyTorch', what, 'difference')
    for name, a in before.items():
        b = after[name]
        table.add_row(name, f'{a:.4f}', f'{b:.4f}', f'{b - a:+.4f}')
    console.print(table)
    with suppress(InputError):  # of other metrics the table has to do
        (a, name), (b, _) = find_accuracy(before), find_accuracy(after)
        console.print(f'loss in {name}: {a - b:.2f}')


def main(argv=None) -> None:
    args = parse_args(argv)
    path = check_arguments(args)
    config = load_config(args.config)
    if args.evaluate:
        check_model(config, args.checkpoint)
    # Building a model for inference changes its config.
    tested = copy.deepcopy(config)
    model = load_pose_model(config, args.checkpoint, 'cpu')
    files = all_files(path, tuple(PoseNetwork(model).parts()))
    for file in files:
        check_output_file(str(file), args.overwrite)

    console = Console()
    errors = Console(stderr=True)
    samples = load_samples(args, args.images or args.int8, model)
    samples = [sample for sample, _ in zip(samples, range(COMPARED))]
    with errors.status('Running PyTorch'):
        recording = record(model, samples)
    check_output_folder(str(path.parent))
    with (
        naming_output(path, path.parent),
        tempfile.TemporaryDirectory(dir=path.parent) as folder,
    ):
        draft = Path(folder, path.name)
        with errors.status('Exporting'):
            export_model(model, draft, recording)
        with errors.status('Comparing with PyTorch'):
            difference, distance = compare(model, draft, samples, recording)
        check_agreement(difference, distance)
        console.print(
            f'differs from PyTorch by {difference:.2g}, keypoints by '
            f'{distance:.2g} px, on {len(samples)} images'
        )
        if args.int8:
            samples = load_samples(args, args.int8, model)
            with errors.status('Running PyTorch on the calibration images'):
                recording = record(model, samples, args.max_samples)
            plain = draft
            draft = Path(folder, 'int8', path.name)
            quantize_model(model, plain, draft, recording, args.max_samples)
        # The network's own file last: where it is, all is there.
        for file in reversed(files):
            os.replace(draft.with_name(file.name), file)
        size = sum(file.stat().st_size for file in files) / 2**20
        console.print(
            f'{path}: {size:.1f} MiB in {len(files)} file(s)', soft_wrap=True
        )
        if args.evaluate:
            tested.work_dir = folder
            before, after = (
                load_and_evaluate(tested, weights).metrics
                for weights in (args.checkpoint, str(path))
            )
            what = 'OpenVINO int8' if args.int8 else args.format
            show(console, what, before, after)


if __name__ == '__main__':
    torch.manual_seed(0)
    run_tool(main)
