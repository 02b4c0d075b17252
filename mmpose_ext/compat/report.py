"""What the repairs found and did, as a table."""

import platform
import sys
from traceback import extract_tb
from types import TracebackType
from typing import List, NamedTuple, Optional

from . import environment
from .environment import MMCV, OPENCV, installed

_PACKAGES = (
    'torch',
    'torchvision',
    'numpy',
    *OPENCV,
    'mmengine',
    'onedl-mmengine',
    *MMCV,
    'mmpose',
    'mmdet',
    'onedl-mmdetection',
    'xtcocotools',
    'faster-coco-eval',
    'pycocotools',
)


class Repair(NamedTuple):
    """What one repair found and did.

    Attributes:
        thing (str): What it looks after.
        found (str): What it found: why the thing does not work, or what it
            cannot do by itself.
        done (str): What was done about it; empty where all is well.
    """

    thing: str
    found: str
    done: str = ''


repairs: List[Repair] = []


def print_report() -> None:
    """Print the versions of the packages, and what was repaired."""
    from rich.console import Console
    from rich.table import Column, Table

    table = Table('what', Column('found here', overflow='fold'), 'done')
    table.add_row('Python', platform.python_version())
    for name, found in installed(*_PACKAGES).items():
        table.add_row(name, found)
    table.add_section()
    for repair in repairs:
        table.add_row(*repair)
    Console(highlight=False, markup=False).print(table)


def report_failed_import(
    kind: type, error: BaseException, traceback: Optional[TracebackType]
) -> None:
    """Print the report, and the error that ended the import.

    Args:
        kind (type): As of ``sys.excepthook``.
        error (BaseException): Why ``mmpose_ext`` cannot be imported.
        traceback (TracebackType, optional): As of ``sys.excepthook``.
    """
    if __name__.partition('.')[0] in sys.modules:
        # Compiled modules print errors by it that end nothing.
        sys.__excepthook__(kind, error, traceback)
    else:
        print_report()
        print(f'{kind.__name__}: {error}')
        last = extract_tb(traceback)[-1]
        if last.filename != environment.__file__:
            print(f'(in {last.filename}, line {last.lineno})')
