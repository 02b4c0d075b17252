"""Rules about boxes and areas."""

import numpy as np

from .columns import LIMIT, numbers, rows
from .problems import MISSING, show
from .table import CocoTable

# What MMPose, like COCO's evaluation without areas, takes a person to fill of
# its box.
_PART_OF_BOX = 0.53
# Boxes may leave their image by some px, or a few of them, by more.
_TOLERANCE = 2.0
# COCO's evaluation ignores areas beyond its largest range.
_LARGEST = 1e10
_SMALLEST = 1e-3  # what is below is a 0 after rounding
_SHARE = 0.1


def check_boxes(table: CocoTable) -> None:
    """Check that boxes are [x, y, width, height] in px."""
    boxes = rows(table.annotations.column('bbox'), 4)
    wrong = ~(np.abs(boxes) <= LIMIT).all(axis=1)
    wrong |= (boxes[:, 2:] < 0).any(axis=1)
    table.annotations.refuse(
        wrong,
        'bbox',
        '[x, y, width, height], finite px, neither size below 0',
    )
    boxes[wrong] = np.nan
    table.boxes = boxes

    large = (table.annotation_sizes() > 2).any(axis=1)
    table.fractions = large & is_fraction(boxes[:, :2], boxes[:, 2:])
    table.annotations.refuse(
        table.fractions,
        'bbox',
        "px, not fractions of the image's width and height",
    )
    _look_for_corners(table)


def is_fraction(start: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Which boxes (N, 4) lie in the first px, and not on its edges alone.

    Args:
        start (np.ndarray): x and y of the boxes, (N, 2).
        size (np.ndarray): Width and height of the boxes, (N, 2).
    """
    corners = np.concatenate([start, start + size], axis=1)
    inside = ((corners >= 0) & (corners <= 1)).all(axis=1)
    within = ((corners > 0) & (corners < 1)).any(axis=1)
    return inside & within & (size > 0).any(axis=1)


def _look_for_corners(table: CocoTable) -> None:
    ends = table.boxes[:, :2] + table.boxes[:, 2:]
    outside = (ends > table.annotation_sizes() + _TOLERANCE).any(axis=1)
    share = outside.mean() if len(outside) else 0
    if share > _SHARE:
        i = int(outside.argmax())
        table.note(
            outside,
            f'({share:.0%}) have a box that leaves its image to the right or '
            'below; COCO has [x, y, width, height], is this [x1, y1, x2, y2]?',
            f'{table.annotations.name(i)}, bbox '
            f'{show(table.annotations[i]["bbox"])}',
        )


def check_areas(table: CocoTable, estimate: bool) -> None:
    """Check areas, and estimate those that are missing or about 0.

    Args:
        table (CocoTable): The file.
        estimate (bool): Whether to do so. If not, they must not be missing.
    """
    values = table.annotations.column('area')
    areas = numbers(values)
    missing = np.array([v is MISSING for v in values], bool)
    nothing = np.array([type(v) is float and v != v for v in values], bool)
    wrong = ~(np.abs(areas) <= _LARGEST) & ~nothing
    if estimate:
        wrong &= ~missing
    table.annotations.refuse(
        wrong,
        'area',
        'a number of px of at most 1e10, which COCO evaluates',
    )
    if not estimate:
        return
    estimated = ~wrong & ~(areas >= _SMALLEST)
    table.note(
        estimated,
        'have no area above 0.001: it is estimated from the box, as in MMPose '
        f'({_PART_OF_BOX} w h)',
    )
    estimates = _PART_OF_BOX * table.boxes[:, 2:].prod(axis=1)
    estimates = estimates.clip(max=_LARGEST)
    for i in np.flatnonzero(estimated).tolist():
        table.annotations[i]['area'] = float(estimates[i])
