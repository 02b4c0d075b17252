"""Rules about keypoints."""

from collections import Counter
from typing import Any

import numpy as np

from .boxes import is_fraction
from .columns import LIMIT, numbers, rows, whole
from .problems import MISSING, show
from .table import CocoTable

# Those of COCO-WholeBody, beside its 'keypoints'.
_OTHERS = ('foot_kpts', 'face_kpts', 'lefthand_kpts', 'righthand_kpts')


def check_keypoints(table: CocoTable) -> None:
    """Check the keypoints, where a file has some.

    Where annotations have no keypoints beside others that do, they get
    unlabelled ones, as COCO's evaluation wants them of all.
    """
    annotations = table.annotations
    _check_others(table)
    values = annotations.column('keypoints')
    is_list = np.array([type(v) is list for v in values], bool)
    lacking = np.array([v is MISSING or v == [] for v in values], bool)
    annotations.refuse(
        ~is_list & ~lacking,
        'keypoints',
        'a list of x, y, visibility for each keypoint',
    )
    is_list &= ~lacking
    nested = is_list.copy()
    nested[is_list] = [
        type(values[i][0]) is list for i in np.flatnonzero(is_list)
    ]
    annotations.refuse(
        nested,
        'keypoints',
        'numbers in one list [x1, y1, visibility1, x2, ...], not lists',
    )
    chosen = np.flatnonzero(is_list & ~nested)
    lengths = np.array([len(values[i]) for i in chosen.tolist()], int)
    common = Counter(lengths[lengths % 3 == 0].tolist()).most_common(1)
    length = common[0][0] if common else 0
    wrong = np.zeros(len(values), bool)
    wrong[chosen] = lengths != length
    annotations.refuse(
        wrong,
        'keypoints',
        f'{length}, as most others have: x, y, visibility of each'
        if length
        else 'three for each keypoint: x, y, visibility',
        lambda i: f'keypoints of {len(values[i])} numbers',
    )
    if not length:
        return
    chosen = chosen[lengths == length]
    points = rows([values[i] for i in chosen.tolist()], length)
    points = points.reshape(len(chosen), -1, 3)
    _check_points(table, chosen, points)
    labelled = np.zeros(len(values), int)
    labelled[chosen] = (points[..., 2] > 0).sum(axis=1)
    for i in np.flatnonzero(lacking).tolist():
        annotations[i]['keypoints'] = [0] * length
    _check_counts(table, labelled)


def _check_points(
    table: CocoTable, chosen: np.ndarray, points: np.ndarray
) -> None:
    """Check keypoints (M, K, 3) of some of the annotations (M,)."""

    def add(wrong: np.ndarray, expected: str) -> None:
        """Add the persons with keypoints that are wrong, bool (M, K)."""

        def got(i: int) -> str:
            k, count = int(wrong[i].argmax()), int(wrong[i].sum())
            given = table.annotations[chosen[i]]['keypoints']
            others = f' ({count} such)' if count > 1 else ''
            return f'keypoint {k} is {show(given[3 * k : 3 * k + 3])}{others}'

        table.problems.add_where(
            wrong.any(axis=1),
            lambda i: table.annotations.name(int(chosen[i])),
            got,
            expected,
        )

    seen = points[..., 2]
    known = (seen == 0) | (seen == 1) | (seen == 2)
    add(~known, 'a visibility of 0, 1 or 2')
    far = ~(np.abs(points[..., :2]) <= LIMIT).all(axis=-1)
    labelled = seen > 0
    add(far & labelled, 'finite px where it is labelled')

    # Where nothing is labelled, anything may stand; but no text or null,
    # which show that the file is made by mistake.
    far &= seen == 0
    other = np.zeros_like(far)
    for m, k in zip(*np.nonzero(far)):
        given = table.annotations[chosen[m]]['keypoints']
        pair = given[3 * k : 3 * k + 2]
        other[m, k] = not set(map(type, pair)) <= {int, float}
    add(other, 'numbers')
    for m, k in zip(*np.nonzero(far)):
        given = table.annotations[chosen[m]]['keypoints']
        given[3 * k : 3 * k + 2] = [0, 0]
    note = np.zeros(len(table.annotations), bool)
    note[chosen] = far.any(axis=1)
    table.note(
        note,
        'have keypoints without a label that are not finite: they are taken '
        'as 0, 0',
    )
    _look_for_fractions(table, chosen, points, labelled)


def _look_for_fractions(
    table: CocoTable,
    chosen: np.ndarray,
    points: np.ndarray,
    labelled: np.ndarray,
) -> None:
    """Find persons whose labelled keypoints all lie in the first px."""
    candidates = labelled.any(axis=1) & (
        (points[..., 0] <= 1) | ~labelled
    ).all(axis=1)
    labelled = labelled[candidates, :, None]
    xy = points[candidates, :, :2]
    start = np.where(labelled, xy, np.inf).min(axis=1)
    end = np.where(labelled, xy, -np.inf).max(axis=1)
    wrong = np.zeros(len(table.annotations), bool)
    wrong[chosen[candidates]] = is_fraction(start, end - start)
    wrong &= (table.annotation_sizes() > 2).any(axis=1)
    wrong &= ~table.fractions
    table.annotations.refuse(
        wrong,
        'keypoints',
        "px, not fractions of the image's width and height",
    )


def _check_counts(table: CocoTable, labelled: np.ndarray) -> None:
    """Compare ``num_keypoints`` with what is labelled; add where missing."""
    values = table.annotations.column('num_keypoints')
    missing = np.array([v is MISSING for v in values], bool)
    found, good = whole(values)
    table.annotations.refuse(
        ~good & ~missing, 'num_keypoints', 'a whole number'
    )
    differs = good & (found != labelled)
    if 'crowdIndex' in table.images[0]:
        # CrowdPose counts neither head nor neck, and evaluates by its count.
        differs &= found > labelled
    table.note(
        differs,
        'have a num_keypoints that is not the number of their labelled '
        'keypoints: it is counted anew',
    )
    for i in np.flatnonzero(differs | missing).tolist():
        table.annotations[i]['num_keypoints'] = int(labelled[i])


def _check_others(table: CocoTable) -> None:
    for key in table.keys.intersection(_OTHERS):
        values = table.annotations.column(key)
        table.annotations.refuse(
            np.array([v is not MISSING and not _is_points(v) for v in values]),
            key,
            'a list of x, y, visibility for each keypoint, finite',
        )


def _is_points(value: Any) -> bool:
    return (
        type(value) is list
        and len(value) % 3 == 0
        and bool((np.abs(numbers(value)) <= LIMIT).all())
    )
