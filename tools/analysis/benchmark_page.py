"""Render results of tools/analysis/benchmark.py --log as a Markdown page.

The page holds the latest result of each section and title.
"""

import argparse

import mmpose_ext  # noqa: F401  (before those that it mends)
from mmpose_ext.analysis.page import write_page
from mmpose_ext.errors import run_tool


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('log', metavar='RESULTS.jsonl', help='results')
    parser.add_argument(
        '--out',
        default='docs/benchmarks.md',
        help='page to write (default: %(default)s)',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace an existing --out that this tool has not made',
    )
    return parser.parse_args()


def main():
    args = parse_args()
    number = write_page(args.log, args.out, args.overwrite)
    print(f'{number} results: {args.out}')


if __name__ == '__main__':
    run_tool(main)
