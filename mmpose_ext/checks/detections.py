"""Check a file of detected person boxes (MMPose's ``bbox_file``)."""

from typing import Any, Callable, Iterable, List

import numpy as np

from ..errors import InputError
from .coco.boxes import is_fraction
from .coco.columns import LIMIT, column, numbers, rows, whole
from .coco.problems import MISSING, Problems, show

_PERSON = 1  # the only category that MMPose takes from such a file


def check_detections(
    content: Any,
    path: str,
    image_ids: Iterable[int],
    score_thr: float = -np.inf,
) -> int:
    """Check the content of a detection file against an annotation file.

    Args:
        content (Any): The parsed file: one
            ``{image_id, category_id, bbox, score}`` per box, with the bbox as
            (x, y, width, height) in px.
        path (str): Its name, for messages.
        image_ids (Iterable[int]): The image ids of the annotation file.
        score_thr (float): Boxes with a lower score are not used. Default:
            all are used.

    Returns:
        int: How many boxes are left to evaluate. Zero is no error.

    Raises:
        InputError: The file is no such list, holds image ids of another
            dataset, no person at all, or a box or score that cannot be.
    """
    what = f"detection file '{path}'"
    if not isinstance(content, list):
        raise InputError(
            f'{what} must be a list of {{image_id, category_id, bbox, '
            f'score}}, got a {type(content).__name__}'
        )
    problems = Problems(what)
    problems.add_where(
        np.array([type(box) is not dict for box in content], bool),
        lambda i: f'entry {i}',
        lambda i: show(content[i]),
        'an object with image_id, category_id, bbox and score',
    )
    problems.raise_any()

    def refuse(wrong: np.ndarray, key: str, expected: str) -> None:
        problems.add_where(
            wrong,
            lambda i: f'entry {i}',
            lambda i: f'{key} {show(content[i].get(key, MISSING))}',
            expected,
        )

    ids, categories = (
        _whole(content, key, refuse) for key in ('image_id', 'category_id')
    )
    persons = categories == _PERSON
    scores = _check_persons(content, persons, refuse)
    problems.raise_any()
    _check_image_ids(ids.tolist(), what, set(image_ids))
    if content and not persons.any():
        raise InputError(
            f'{what}: none of its {len(content)} boxes has the category_id '
            f'{_PERSON} (person), the only one that is used; the first has '
            f'{categories[0]}'
        )
    return int((scores[persons] >= score_thr).sum())


def _whole(content: List[dict], key: str, refuse: Callable) -> np.ndarray:
    """The whole numbers under a key, int (N,)."""
    values = column(content, key)
    found, good = whole(values)
    # MMPose, which reads the file itself, finds no image of the id 3.0.
    good &= np.array([type(v) is int for v in values], bool)
    refuse(~good, key, 'a whole number')
    return found


def _check_persons(
    content: List[dict], persons: np.ndarray, refuse: Callable
) -> np.ndarray:
    """Check boxes and scores of the persons (N,); return all scores (N,)."""
    # Numbers after the first four are left alone, as in MMPose.
    given = column(content, 'bbox')
    boxes = rows([v[:4] if type(v) is list else v for v in given], 4)
    good = (np.abs(boxes) <= LIMIT).all(axis=1)
    good &= (boxes[:, 2:] > 0).all(axis=1)
    refuse(
        persons & ~good,
        'bbox',
        'finite x, y, width, height in px, with an area above zero',
    )
    refuse(
        persons & is_fraction(boxes[:, :2], boxes[:, 2:]),
        'bbox',
        "px, not fractions of the image's width and height",
    )
    scores = numbers(column(content, 'score'))
    refuse(persons & ~np.isfinite(scores), 'score', 'a finite number')
    return scores


def _check_image_ids(ids: List[int], what: str, known: set) -> None:
    unknown = [str(i) for i in dict.fromkeys(ids) if i not in known]
    if unknown:
        first = ', '.join(unknown[:3])
        more = ', ...' if len(unknown) > 3 else ''
        raise InputError(
            f'{what} has {len(unknown)} image ids that the annotation file '
            f'does not have ({first}{more}): it is probably one of another '
            'dataset or split'
        )
