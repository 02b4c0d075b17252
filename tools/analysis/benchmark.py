"""Latency of networks, modules and steps, side by side in one run.

All are measured in turns, and compared with the last. Each SPEC is one of

  CONFIG          the network of a config (path, base name, or PACKAGE::PATH)
  CONFIG@PATH     a part of it (CONFIG@backbone.stage4), on what the network
                  gives it
  "dict(type='GPRNeck', in_channels=[32, 64])"
                  a module by itself, on --maps
  encode:CONFIG, "encode:dict(type='CenterOffset', ...)"
                  what the config's codec, or this one, makes of the --persons
                  of an image
  decode:CONFIG   what the head makes of its outputs: the poses of as many
                  persons as it may find, refined, after NMS; no flip test
  predict:CONFIG  from images to these poses, flip test and NMS as in the
                  config
  train:CONFIG    one step of training, from normalisation to optimizer, with
                  targets of synthetic persons
  "transform:dict(type='Cutout')"
                  a transform of a pipeline, on an image with --persons
  batch:CONFIG    a batch of the config's training data, with its transforms
  eager:CONFIG, channels-last:CONFIG, compiled:CONFIG, onnxruntime:CONFIG,
  openvino:CONFIG, openvino-int8:CONFIG
                  the network from images to maps in one of these runtimes,
                  exported on the fly; their accuracy is not shown here

Weights and images are random, and the same in every run.
"""

import argparse
import re
import string
import sys
from dataclasses import asdict

import mmpose_ext  # isort: skip  first: it mends the others
import cv2
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mmpose_ext.analysis import describe_machine, measure
from mmpose_ext.analysis.isolation import IsolatedCall
from mmpose_ext.analysis.latency import ratio_of, spread
from mmpose_ext.analysis.memory import measure_memory
from mmpose_ext.analysis.options import (
    add_output_options,
    check_output_options,
)
from mmpose_ext.analysis.page import frames_per_second, milliseconds
from mmpose_ext.analysis.profiling import check_profile, hot_spots
from mmpose_ext.analysis.records import (
    append_record,
    command_line,
    now,
    without_absolute_paths,
)
from mmpose_ext.analysis.specs import load_spec
from mmpose_ext.engine.arguments import (
    positive_int,
    positive_number,
    usable_device,
)
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import write_json

DTYPES = ('float32', 'bfloat16', 'float16')


def parse_map(text: str) -> tuple:
    """Read CxHxW."""
    if not re.fullmatch(r'([1-9]\d*x){2}[1-9]\d*', text):
        raise argparse.ArgumentTypeError(f'expected CxHxW, got {text}')
    return tuple(int(n) for n in text.split('x'))


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'specs',
        metavar='SPEC',
        nargs='+',
        help='two or more, the last for the others to be compared with; one '
        'is enough with --profile or --memory',
    )
    parser.add_argument(
        '--shape',
        nargs=2,
        type=positive_int,
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
    parser.add_argument(
        '--batch', type=positive_int, default=1, help='default: 1'
    )
    parser.add_argument(
        '--persons',
        type=positive_int,
        default=3,
        help='persons of an image, but of a top-down training (default: 3)',
    )
    parser.add_argument(
        '--device', type=usable_device, default='cpu', help='default: cpu'
    )
    parser.add_argument(
        '--threads',
        type=positive_int,
        help='CPU threads (default: as torch does)',
    )
    parser.add_argument(
        '--dtype', choices=DTYPES, default='float32', help='weights and inputs'
    )
    parser.add_argument(
        '--amp', choices=DTYPES[1:], help='autocast to this type'
    )
    parser.add_argument(
        '--rounds',
        type=positive_int,
        default=20,
        help='measurements of each, in turns; with --profile, also the calls '
        'that are profiled (default: 20)',
    )
    parser.add_argument(
        '--warmup',
        type=positive_int,
        default=3,
        help='calls of each that are not measured; with --memory, all calls '
        '(default: 3)',
    )
    parser.add_argument(
        '--min-seconds',
        type=positive_number,
        default=0.05,
        help='least duration of a measurement (default: 0.05)',
    )
    parser.add_argument(
        '--isolate',
        action='store_true',
        help='time each in a process of its own, as their threads and memory '
        'disturb each other in one; still in turns',
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        '--memory',
        action='store_true',
        help='measure the peak memory instead, each in a process of its own',
    )
    what.add_argument(
        '--profile',
        action='store_true',
        help='name the operators or functions that take the time, too',
    )
    add_output_options(parser)
    # SPECs may stand before, between and behind the options.
    return parser.parse_intermixed_args()


def check_args(args) -> None:
    """Check all that can be known before the work starts."""
    check_output_options(args)
    if len(args.specs) > len(string.ascii_lowercase):
        raise InputError(f'expected 2 to 26 specs, got {len(args.specs)}')
    if len(args.specs) == 1 and not (args.profile or args.memory):
        raise InputError(
            'expected two or more specs to compare, got one; --profile and '
            '--memory take one'
        )
    if args.isolate and (args.memory or args.profile):
        raise InputError('--isolate is for times, not for --memory, --profile')
    if args.profile:
        if args.amp:
            raise InputError('--profile is of float32, leave out --amp')
        for spec in args.specs:
            check_profile(spec)


def measure_time(args, options: dict) -> list:
    """Medians, quartiles, ratios and perhaps hot spots of all specs."""
    calls, amp = [], None
    with Progress(console=Console(stderr=True)) as progress:
        for spec in progress.track(args.specs, description='loading'):
            if args.isolate:
                call = IsolatedCall(spec, args.threads, args.amp, **options)
            else:
                call = load_spec(spec, **options)
                call.check('run')
            calls.append(call)
    if args.amp and not args.isolate:
        amp = getattr(torch, args.amp)
    sides = measure(
        calls,
        rounds=args.rounds,
        warmup=args.warmup,
        min_seconds=args.min_seconds,
        device=args.device,
        amp=amp,
    )
    for call, side in zip(calls, sides):
        quartiles = spread(side['seconds'])
        side.update(
            q1=quartiles['q1'],
            q3=quartiles['q3'],
            images=call.images,
            **ratio_of(side, sides[-1]),
        )
    if args.profile:
        for spec, call, side in zip(args.specs, calls, sides):
            spots = hot_spots(spec, call, args.device, args.rounds)
            side['hot_spots'] = [asdict(spot) for spot in spots]
    return sides


def measure_peaks(args, options: dict) -> list:
    """Peak memory of all specs, and its ratios."""
    with Progress(console=Console(stderr=True)) as progress:
        sides = [
            *measure_memory(
                progress.track(args.specs, description='measuring'),
                calls=args.warmup,
                threads=args.threads,
                amp=args.amp,
                **options,
            )
        ]
    last = sides[-1]
    for side in sides:
        side['ratio'] = side['peak_mib'] / last['peak_mib']
        # A step that needs nothing leaves the process as it was.
        side['over_ratio'] = side['over_mib'] / max(last['over_mib'], 2**-10)
    return sides


def show(result: dict) -> None:
    """Print a table, and of two specs how their ratio varies."""
    sides = {k: v for k, v in result.items() if len(k) == 1}
    reference = list(sides)[-1].upper()
    console = Console()
    console.print(_table_of(result['kind'], sides, reference))
    if result['kind'] == 'time' and 'ratio' in result:
        within = result['round_ratios']
        console.print(
            f'A / B: {result["ratio"]:.3f} (ratio of medians); within rounds: '
            f'quartiles {within["q1"]:.3f} to {within["q3"]:.3f}, '
            f'range {within["min"]:.3f} to {within["max"]:.3f}'
        )
    for letter, side in sides.items():
        if 'hot_spots' in side:
            console.print(_hot_spots_of(letter, side))


def _table_of(kind: str, sides: dict, reference: str) -> Table:
    table = Table()
    table.add_column('')
    table.add_column('what', overflow='fold')
    if kind == 'time':
        headers = ['median (ms)', 'FPS', f'ratio to {reference}']
    else:
        headers = ['peak (MiB)', f'ratio to {reference}']
        headers += ['over start (MiB)', f'ratio to {reference}']
    for header in headers:
        table.add_column(header, justify='right')
    for letter, side in sides.items():
        if kind == 'time':
            cells = [
                milliseconds(side['median']),
                frames_per_second(side),
                f'{side["ratio"]:.3f}',
            ]
        else:
            cells = [
                f'{side["peak_mib"]:.0f}',
                f'{side["ratio"]:.3f}',
                f'{side["over_mib"]:.0f}',
                f'{side["over_ratio"]:.3f}',
            ]
        table.add_row(letter.upper(), side['name'], *cells)
    return table


def _hot_spots_of(letter: str, side: dict) -> Table:
    table = Table(title=f'hot spots of {letter.upper()}')
    table.add_column('operator or function', overflow='fold')
    for header in ('own time (ms)', 'share', 'calls'):
        table.add_column(header, justify='right')
    for spot in side['hot_spots']:
        table.add_row(
            spot['name'],
            milliseconds(spot['seconds']),
            f'{spot["share"]:.1%}',
            f'{spot["calls"]:.4g}',
        )
    return table


def record_of(args, sides: list, about: dict) -> dict:
    """What the log keeps: no paths, and not the single measurements."""
    results = [
        dict(
            {k: v for k, v in side.items() if k != 'seconds'},
            name=without_absolute_paths(spec),
        )
        for spec, side in zip(args.specs, sides)
    ]
    return dict(
        date=now(),
        section=args.section,
        title=args.title,
        command=command_line(
            'tools/analysis/benchmark.py', sys.argv[1:], args.specs
        ),
        results=results,
        **about,
    )


def main():
    args = parse_args()
    check_args(args)
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    torch.backends.cudnn.benchmark = True
    names = ('shape', 'maps', 'batch', 'device', 'dtype', 'persons')
    options = {name: getattr(args, name) for name in names}
    run = measure_peaks if args.memory else measure_time
    sides = run(args, options)

    settings = {k: v for k, v in vars(args).items() if k not in _NOT_SETTINGS}
    about = dict(
        kind='memory' if args.memory else 'time',
        settings=settings,
        machine=describe_machine(args.device),
        mmpose_ext=mmpose_ext.__version__,
    )
    named = [dict(name=spec, **side) for spec, side in zip(args.specs, sides)]
    result = dict(zip(string.ascii_lowercase, named))
    if len(sides) == 2:
        keys = ('ratio', 'round_ratios')
        result.update({k: sides[0][k] for k in keys if k in sides[0]})
    result.update(about)
    show(result)
    if args.out:
        write_json(args.out, result)
    if args.log:
        append_record(args.log, record_of(args, sides, about))


_NOT_SETTINGS = (
    *('specs', 'out', 'overwrite', 'log', 'title', 'section'),
    *('memory', 'profile'),
)


if __name__ == '__main__':
    run_tool(main)
