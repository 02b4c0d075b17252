"""Time things side by side, alternately, in one run.

NAMES are rows of docs/benchmarks.md, or whole tables, to be measured (default:
those without a record, or with --again all). The page is written anew.

SPECS are anything else, each compared with the last. They are KIND:WHAT, with
a config (path, base name, or PACKAGE::PATH) for

  network, train, predict   the network, a training step, images to poses
  eager, compiled, onnxruntime, openvino, openvino-int8   runtimes
  encode                    a codec's targets; or "encode:dict(type=...)"
  operators, mmcv-operators   nms, roi_align, or a training step of a config of
                            MMDet's, with the operators here or mmcv's own
  batch                     a batch of the training data
  evaluate, xtcocotools     COCO's evaluation of keypoints, here or by that
                            package; of how many images
  test, mmpose-test         the test loop of this tools/test.py, of MMPose's

a dict for "transform:dict(type='Cutout', ...)", and an annotation file for
read and json, with all checks and without.
"""

import argparse
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import mmpose_ext  # noqa: F401  # isort: skip  before torchvision's users
from rich.console import Console
from rich.table import Table

from mmpose_ext.engine import arguments
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import write_atomic

from . import page
from .cases import CASES
from .kinds import ISOLATED, kind_of, load
from .measure import NotInstalled, measure


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, number = parser.add_argument, arguments.positive_int
    seconds, device = arguments.positive_number, arguments.usable_device
    add('words', nargs='*', metavar='NAME or SPEC', help='see above')
    add('--list', action='store_true', help='print names and specs only')
    add('--again', action='store_true', help='measure all, without NAMES')
    add('--rounds', type=number, default=5, help='(default: 5)')
    add('--min-seconds', type=seconds, default=0.2, help='(default: 0.2)')
    add('--memory', action='store_true', help='peak memory, too')
    add('--profile', action='store_true', help='hot spots, too')
    add('--threads', type=number, help='CPU threads (default: as torch does)')
    add('--device', type=device, help='of SPECS (default: cpu)')
    add('--batch', type=number, help='of SPECS (default: 1)')
    add('--shape', nargs=2, type=number, metavar=('H', 'W'), help='of SPECS')
    add('--records', type=Path, default=Path('docs/benchmarks.jsonl'))
    return parser.parse_intermixed_args()


def compare(args: argparse.Namespace, specs: list, **options) -> list:
    """Measure some specs, and print them."""
    kinds = [kind_of(spec) for spec in specs]
    memory = args.memory or kinds[0] == 'train'
    isolate = memory or not ISOLATED.keys().isdisjoint(kinds)
    settings = args.rounds, args.min_seconds, memory, args.profile
    options['threads'] = args.threads
    try:
        sides = measure(load, specs, isolate, *settings, **options)
    except BrokenProcessPool as e:
        what = f'a process of {" ".join(specs)} was killed'
        raise InputError(f'{what}, most likely because memory ran out') from e
    table = Table(*page.COLUMNS[1:-1])
    for row in page.rows_of(sides):
        table.add_row(*row)
    Console().print(table)
    return sides


def main() -> None:
    args = parse_args()
    given = {key: getattr(args, key) for key in ('device', 'batch', 'shape')}
    given = {key: value for key, value in given.items() if value}
    known = {*CASES, *(name.split('/')[0] for name in CASES)}
    if not known.issuperset(args.words):
        compare(args, args.words, **given)
        return
    if given:
        raise InputError(f'--{" and --".join(given)}: NAMES have fixed values')
    records = page.read_records(args.records)
    for name, (specs, options) in CASES.items():
        if args.words and not {name, name.split('/')[0]} & {*args.words}:
            continue
        if args.list:
            print(name, *map(repr, specs))
        elif args.words or args.again or name not in records:
            try:
                sides = compare(args, specs, **options)
            except NotInstalled as missing:
                print(f'{name} is skipped: {missing}')
                continue
            page.append_record(args.records, name, sides)
    if not args.list:
        text = page.render_page(page.read_records(args.records))
        write_atomic(args.records.with_suffix('.md'), text.encode())


if __name__ == '__main__':
    run_tool(main)
