"""Latency of two networks, modules or steps, side by side in one run.

A and B are each

  CONFIG          the network of a config (path, base name, or PACKAGE::PATH)
  CONFIG@PATH     a part of it (CONFIG@backbone.stage4), on what the network
                  gives it
  "dict(type='GPRNeck', in_channels=[32, 64])"
                  a module by itself, on --maps
  encode:CONFIG   what the config's codec makes of the --persons of an image
  decode:CONFIG   what the head makes of its outputs: the poses of as many
                  persons as it may find, refined, after NMS; no flip test
  predict:CONFIG  from images to these poses, flip test and NMS as in the
                  config

Weights and images are random, and the same in every run.
"""

import argparse
import re
from functools import partial

import torch
from rich.console import Console
from rich.table import Table

import mmpose_ext
from mmpose_ext.analysis import Call, compare, describe_machine, load_call
from mmpose_ext.analysis.pose_steps import STEPS, load_step
from mmpose_ext.engine.checks import check_output_file
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.inference.files import write_json

DTYPES = ('float32', 'bfloat16', 'float16')


def parse_map(text: str) -> tuple:
    """Read CxHxW."""
    if not re.fullmatch(r'([1-9]\d*x){2}[1-9]\d*', text):
        raise argparse.ArgumentTypeError(f'expected CxHxW, got {text}')
    return tuple(int(n) for n in text.split('x'))


def positive(kind, text: str):
    """Read a number above zero."""
    number = kind(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f'expected more than 0, got {text}')
    return number


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('a', metavar='A')
    parser.add_argument('b', metavar='B')
    integer = partial(positive, int)
    parser.add_argument(
        '--shape',
        nargs=2,
        type=integer,
        metavar=('H', 'W'),
        help='images in pixels (default: as in the pipeline of each config)',
    )
    parser.add_argument(
        '--maps',
        nargs='+',
        type=parse_map,
        default=[],
        metavar='CxHxW',
        help='the maps that a module by itself gets',
    )
    parser.add_argument('--batch', type=integer, default=1)
    parser.add_argument(
        '--persons',
        type=integer,
        default=3,
        help='persons of an image that is encoded (default: 3)',
    )
    parser.add_argument('--device', default='cpu', help='default: cpu')
    parser.add_argument(
        '--threads', type=integer, help='CPU threads (default: as torch does)'
    )
    parser.add_argument(
        '--dtype', choices=DTYPES, default='float32', help='weights and inputs'
    )
    parser.add_argument(
        '--amp', choices=DTYPES[1:], help='autocast to this type'
    )
    parser.add_argument(
        '--rounds',
        type=integer,
        default=20,
        help='measurements of each, in turns (default: 20)',
    )
    parser.add_argument(
        '--warmup',
        type=integer,
        default=3,
        help='calls of each that are not measured (default: 3)',
    )
    parser.add_argument(
        '--min-seconds',
        type=partial(positive, float),
        default=0.05,
        help='least duration of a measurement (default: 0.05)',
    )
    parser.add_argument('--out', help='JSON file to write')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an existing --out'
    )
    return parser.parse_args()


def check_device(device: str) -> None:
    """Check that torch can compute there."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as e:
        reason = str(e).splitlines()[0]
        raise InputError(f"cannot use device '{device}': {reason}") from e


def load(spec: str, args) -> Call:
    """Load A or B."""
    torch.manual_seed(0)
    options = dict(shape=args.shape, batch=args.batch, device=args.device)
    if spec.partition(':')[0] not in STEPS:
        dtype = getattr(torch, args.dtype)
        return load_call(spec, maps=args.maps, dtype=dtype, **options)
    if args.dtype != 'float32':
        raise InputError(f'{spec}: steps work in float32, got {args.dtype}')
    return load_step(spec, persons=args.persons, **options)


def show(result: dict) -> None:
    """Print the medians, and their ratio."""
    table = Table()
    table.add_column('')
    table.add_column('what', overflow='fold')
    table.add_column('median (ms)', justify='right')
    for side in 'ab':
        median = result[side]['median'] * 1000
        table.add_row(side.upper(), result[side]['name'], f'{median:.3f}')
    console = Console()
    console.print(table)
    spread = result['round_ratios']
    console.print(
        f'A / B: {result["ratio"]:.3f} (ratio of medians); within rounds: '
        f'quartiles {spread["q1"]:.3f} to {spread["q3"]:.3f}, '
        f'range {spread["min"]:.3f} to {spread["max"]:.3f}'
    )


def main():
    args = parse_args()
    if args.out:
        check_output_file(args.out, args.overwrite)
    check_device(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True
    result = compare(
        load(args.a, args),
        load(args.b, args),
        rounds=args.rounds,
        warmup=args.warmup,
        min_seconds=args.min_seconds,
        device=args.device,
        amp=getattr(torch, args.amp) if args.amp else None,
    )
    for side in 'ab':
        result[side]['name'] = getattr(args, side)
    settings = {k: v for k, v in vars(args).items() if k not in _NOT_SETTINGS}
    result.update(
        settings=settings,
        machine=describe_machine(args.device),
        mmpose_ext=mmpose_ext.__version__,
    )
    show(result)
    if args.out:
        write_json(args.out, result)


_NOT_SETTINGS = ('a', 'b', 'out', 'overwrite')


if __name__ == '__main__':
    run_tool(main)
