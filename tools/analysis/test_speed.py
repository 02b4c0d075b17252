"""Images per second of tools/test.py, beside those of MMPose's own.

Both run in turns, as whole commands, on the same test data: tools/test.py
with CONFIG, MMPose's with --against (default: the same). What is compared is
the test loop from its first to its last iteration, with data loading, as
MMEngine times it in either of them; imports, the building of the model and
the metrics at the end are left out.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence

import mmpose_ext  # isort: skip  first, because it mends what others import
import mmpose
import torch
from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS, MODELS
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mmpose_ext.analysis import describe_machine
from mmpose_ext.analysis.latency import ratio_of, spread
from mmpose_ext.analysis.options import (
    add_output_options,
    check_output_options,
)
from mmpose_ext.analysis.records import (
    append_record,
    command_line,
    now,
    without_absolute_paths,
)
from mmpose_ext.checks import (
    check_checkpoint_file,
    check_config,
)
from mmpose_ext.engine.arguments import positive_int
from mmpose_ext.engine.command_line import merge_cfg_options
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import write_json

OURS = Path(__file__).parents[1] / 'test.py'
MMPOSE = Path(mmpose.__file__).parent / '.mim' / 'tools' / 'test.py'


@dataclass(frozen=True)
class Test:
    """A test that can be run.

    Args:
        name (str): For tables.
        command (list[str]): The tool and its arguments.
        samples (int): Samples of the test data: persons of a top-down model.
        batch_size (int): Of the test data loader.
        num_workers (int): Of the test data loader.
    """

    name: str
    command: List[str]
    samples: int
    batch_size: int
    num_workers: int

    def seconds(self, threads: Optional[int]) -> float:
        """Run it, and return how long its test loop took."""
        environment = dict(os.environ)
        if threads:
            environment['OMP_NUM_THREADS'] = str(threads)
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, *self.command, '--work-dir', folder],
                capture_output=True,
                text=True,
                env=environment,
            )
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ['']
                raise InputError(
                    f'{self.name}: the command ended with exit status '
                    f'{done.returncode}: {lines[-1]}'
                )
            mean = seconds_per_batch(Path(folder))
        return mean * math.ceil(self.samples / self.batch_size)


def seconds_per_batch(work_dir: Path) -> float:
    """The mean over a test loop, which MMEngine has logged at its end."""
    (log,) = work_dir.glob('[0-9]*/[0-9]*.json')
    return json.loads(log.read_text())['time']


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='for tools/test.py')
    parser.add_argument(
        '--checkpoint', help='its weights (default: random ones)'
    )
    parser.add_argument(
        '--against', metavar='CONFIG', help="for MMPose's tools/test.py"
    )
    parser.add_argument(
        '--against-checkpoint',
        metavar='CHECKPOINT',
        help='its weights (default: those of --checkpoint if the config is '
        'the same, otherwise random ones)',
    )
    parser.add_argument(
        '--rounds',
        type=positive_int,
        default=3,
        help='runs of each (default: 3)',
    )
    parser.add_argument(
        '--threads',
        type=positive_int,
        help='CPU threads (default: as torch does)',
    )
    for name, whose in (('cfg', 'both configs'), ('against', "MMPose's")):
        parser.add_argument(
            f'--{name}-options',
            nargs='+',
            default=[],
            metavar='KEY=VALUE',
            help=f'replace values of {whose}',
        )
    add_output_options(parser, section='Test')
    return parser.parse_args(argv)


def check_args(args: argparse.Namespace) -> None:
    """Check all that can be known before the work starts."""
    for path in (args.checkpoint, args.against_checkpoint):
        if path:
            check_checkpoint_file(path)
    check_output_options(args)
    if not MMPOSE.is_file():
        raise InputError(
            f"MMPose's own tools/test.py is not at '{MMPOSE}': install MMPose "
            'from a wheel'
        )


def read_options(words: Sequence[str]) -> dict:
    """Read KEY=VALUE as the tools do."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        '--cfg-options', nargs='*', action=DictAction, default={}
    )
    return parser.parse_args(['--cfg-options', *words]).cfg_options


def prepare(
    tool: Path,
    config: str,
    checkpoint: Optional[str],
    options: Sequence[str],
    folder: Path,
) -> Test:
    """Make the command of a tool, with random weights if there are none."""
    cfg = load_config(config)
    merge_cfg_options(cfg, read_options(options))
    check_config(cfg, 'test')
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    if checkpoint is None:
        checkpoint = str(folder / f'{len(list(folder.iterdir()))}.pth')
        torch.manual_seed(0)
        weights = MODELS.build(cfg.model).state_dict()
        torch.save(dict(state_dict=weights, meta={}), checkpoint)
    command = [str(tool), cfg.filename, checkpoint]
    if options:
        command += ['--cfg-options', *options]
    loader = cfg.test_dataloader
    whose = 'MMPose' if tool == MMPOSE else 'ours'
    return Test(
        ' '.join([f'{whose}: {Path(config).stem}', *options]),
        command,
        len(DATASETS.build(loader.dataset)),
        loader.batch_size,
        loader.get('num_workers', 0),
    )


def check_same(ours: Test, theirs: Test) -> None:
    """Check that the two run under the same conditions."""
    for name in ('samples', 'batch_size', 'num_workers'):
        a, b = getattr(ours, name), getattr(theirs, name)
        if a != b:
            raise InputError(
                f'the tests differ in {name}: {a} of {ours.name}, {b} of '
                f'{theirs.name}'
            )


def measure(
    tests: Sequence[Test], rounds: int, threads: Optional[int]
) -> List[dict]:
    """Run the tests in turns."""
    seconds = [[] for _ in tests]
    with Progress(console=Console(stderr=True)) as bar:
        for _ in bar.track(range(rounds), description='testing'):
            for test, times in zip(tests, seconds):
                times.append(test.seconds(threads))
    sides = []
    for test, times in zip(tests, seconds):
        found = spread(times)
        sides.append(
            dict(
                name=test.name,
                images=test.samples,
                seconds=times,
                **{key: found[key] for key in ('median', 'q1', 'q3')},
            )
        )
    for side in sides:
        side.update(ratio_of(side, sides[-1]))
    return sides


def show(sides: List[dict]) -> None:
    """Print images per second, and how many times as many they are."""
    table = Table()
    table.add_column('what', overflow='fold')
    for header in ('test loop (s)', 'images per second', 'times'):
        table.add_column(header, justify='right')
    for side in sides:
        table.add_row(
            side['name'],
            f'{side["median"]:.2f}',
            f'{side["images"] / side["median"]:.1f}',
            f'{1 / side["ratio"]:.2f}',
        )
    Console().print(table)


def main(argv: Optional[Sequence[str]] = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    check_args(args)
    against = args.against or args.config
    weights = args.against_checkpoint
    if against == args.config and not args.against_options:
        weights = weights or args.checkpoint
    options = args.cfg_options, [*args.cfg_options, *args.against_options]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = prepare(OURS, args.config, args.checkpoint, options[0], folder)
        theirs = prepare(MMPOSE, against, weights, options[1], folder)
        check_same(ours, theirs)
        sides = measure([ours, theirs], args.rounds, args.threads)
    show(sides)

    machine = describe_machine()
    machine['threads'] = args.threads or machine['threads']
    settings = dict(
        rounds=args.rounds,
        batch=ours.batch_size,
        workers=ours.num_workers,
        threads=machine['threads'],
    )
    about = dict(
        kind='time',
        settings=settings,
        machine=machine,
        mmpose_ext=mmpose_ext.__version__,
    )
    if args.out:
        write_json(args.out, dict(results=sides, **about))
    if args.log:
        record = dict(
            date=now(),
            section=args.section,
            title=args.title,
            command=command_line(
                'tools/analysis/test_speed.py', argv, [args.config]
            ),
            results=[
                dict(
                    {k: v for k, v in side.items() if k != 'seconds'},
                    name=without_absolute_paths(side['name']),
                )
                for side in sides
            ],
            **about,
        )
        append_record(args.log, record)


if __name__ == '__main__':
    run_tool(main)
