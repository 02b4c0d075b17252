"""What the repairs found and did, as a table."""

import platform
from typing import List, NamedTuple, Optional

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


def print_report(error: Optional[BaseException] = None) -> None:
    """Print the versions of the packages, and what was repaired.

    Args:
        error (BaseException, optional): Why ``mmpose_ext`` cannot be
            imported.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table('what', 'found here', 'done')
    table.add_row('Python', platform.python_version())
    for name, found in installed(*_PACKAGES).items():
        table.add_row(name, found)
    table.add_section()
    for repair in repairs:
        table.add_row(*repair)
    console = Console(highlight=False, markup=False)
    console.print(table)
    if error is not None:
        console.print(f'{type(error).__name__}: {error}', soft_wrap=True)
