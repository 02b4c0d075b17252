"""Run the benchmarks of the project, and render their page.

Each is a run of tools/analysis/benchmark.py or test_speed.py, whose result is
appended to the log, of which the page is made. Leave the machine alone in the
meantime. Whole tests and data loading need data/toy_persons, which
tools/make_toy_persons.py makes. Run it from the root of the project.
"""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

import mmpose_ext  # noqa: F401  (before those that it mends)
from mmpose_ext.analysis.page import check_page, write_page
from mmpose_ext.analysis.records import check_log, read_records
from mmpose_ext.analysis.suite import SUITE
from mmpose_ext.errors import InputError, did_you_mean, run_tool

_HERE = Path(__file__).parent
# In the names of the configs that need it.
TOY_DATA = 'toy-persons'


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'sections',
        nargs='*',
        metavar='SECTION',
        help='those to run (default: all)',
    )
    parser.add_argument(
        '--log',
        default='docs/benchmarks.jsonl',
        help='JSON lines file to append results to (default: %(default)s)',
    )
    parser.add_argument(
        '--out',
        default='docs/benchmarks.md',
        help='page to write (default: %(default)s)',
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='leave out what has a result in the --log',
    )
    parser.add_argument(
        '--list', action='store_true', help='print the commands only'
    )
    return parser.parse_args()


def select(sections: list) -> list:
    """The benchmarks of some sections, or all."""
    known = list(dict.fromkeys(benchmark.section for benchmark in SUITE))
    for section in sections:
        if section not in known:
            raise InputError(
                f"there is no section '{section}', only "
                + ', '.join(known)
                + did_you_mean(section, known)
            )
    return [b for b in SUITE if b.section in (sections or known)]


def check_toy_data() -> None:
    """Check that the toy persons are there, before hours of work."""
    marker = Path('data/toy_persons/toy_persons.json')
    if not marker.exists():
        raise InputError(
            f"there is no '{marker}': make it with tools/make_toy_persons.py, "
            'and run this from the root of the project'
        )


def command_of(benchmark, log: str) -> list:
    """The command that runs a benchmark."""
    return [
        *(sys.executable, str(_HERE / benchmark.tool), *benchmark.arguments),
        *('--section', benchmark.section, '--title', benchmark.title),
        *('--log', log),
    ]


def main():
    args = parse_args()
    todo = select(args.sections)
    check_log(args.log)
    check_page(args.out)
    if args.resume and Path(args.log).exists():
        done = {(r['section'], r['title']) for r in read_records(args.log)}
        todo = [b for b in todo if (b.section, b.title) not in done]
    if args.list:
        for benchmark in todo:
            print(shlex.join(command_of(benchmark, args.log)))
        return

    if any(TOY_DATA in ' '.join(b.arguments) for b in todo):
        check_toy_data()
    console = Console()
    failed = []
    for number, benchmark in enumerate(todo, 1):
        title = f'{benchmark.section}: {benchmark.title}'
        console.rule(f'{number} of {len(todo)}: {title}')
        start = time.perf_counter()
        status = subprocess.run(command_of(benchmark, args.log)).returncode
        console.print(f'{time.perf_counter() - start:.0f} s')
        if status:
            failed.append(f'{title} (exit status {status})')

    if Path(args.log).exists():
        number = write_page(args.log, args.out)
        console.print(f'{number} results: {args.out}')
    if failed:
        raise InputError(
            'these failed; to run them again, add --resume: '
            + '; '.join(failed)
        )


if __name__ == '__main__':
    run_tool(main)
