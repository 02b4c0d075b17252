"""Options that say where the result of a benchmark goes."""

import argparse

from ..checks import check_output_file
from ..errors import InputError
from .records import check_log


def add_output_options(
    parser: argparse.ArgumentParser, section: str = 'Others'
) -> None:
    """Add the options that :func:`check_output_options` checks.

    Args:
        parser (argparse.ArgumentParser): The tool's parser.
        section (str): Default section of the page. Defaults to ``'Others'``.
    """
    parser.add_argument('--out', help='JSON file to write')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an existing --out'
    )
    parser.add_argument(
        '--log',
        metavar='FILE.jsonl',
        help='JSON lines file to append the result to; '
        'tools/analysis/benchmark_page.py makes a page of it',
    )
    parser.add_argument('--title', help='of the result in the --log')
    parser.add_argument(
        '--section',
        default=section,
        help='of the page that the result belongs to (default: %(default)s)',
    )


def check_output_options(args: argparse.Namespace) -> None:
    """Check that the result can be written, before it is measured.

    Args:
        args (argparse.Namespace): The parsed options.

    Raises:
        InputError: A file cannot be written, or the title is missing or of
            no use.
    """
    if args.out:
        check_output_file(args.out, args.overwrite)
    if args.log:
        if not args.title:
            raise InputError('--log needs a --title for the result')
        check_log(args.log)
    elif args.title:
        raise InputError('--title is of no use without --log')
