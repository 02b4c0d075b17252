"""Check a file of detected person boxes (MMPose's ``bbox_file``)."""

from typing import Iterable, List

import numpy as np

from ...errors import InputError

_KEYS = {'image_id', 'category_id', 'bbox', 'score'}
_PERSON = 1  # the only category that MMPose takes from such a file


def check_detections(
    content, path: str, image_ids: Iterable[int], score_thr: float = -np.inf
) -> int:
    """Check the content of a detection file against an annotation file.

    Args:
        content (list[dict]): The parsed file: one
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
    for i, box in enumerate(content):
        missing = _KEYS.difference(box) if isinstance(box, dict) else _KEYS
        if missing:
            raise InputError(
                f'{what}: entry {i} lacks {", ".join(sorted(missing))}'
            )
    _check_image_ids(content, what, set(image_ids))

    persons = [i for i, b in enumerate(content) if b['category_id'] == _PERSON]
    if content and not persons:
        raise InputError(
            f'{what}: none of its {len(content)} boxes has the category_id '
            f'{_PERSON} (person), the only one that is used; the first has '
            f'{content[0]["category_id"]}'
        )
    scores = _check_numbers(content, what, persons)
    return int((scores >= score_thr).sum())


def _check_image_ids(content: List[dict], what: str, known: set) -> None:
    unknown = list(
        dict.fromkeys(
            str(b['image_id']) for b in content if b['image_id'] not in known
        )
    )
    if unknown:
        first = ', '.join(unknown[:3])
        more = ', ...' if len(unknown) > 3 else ''
        raise InputError(
            f'{what} has {len(unknown)} image ids that the annotation file '
            f'does not have ({first}{more}): it is probably one of another '
            'dataset or split'
        )


def _check_numbers(
    content: List[dict], what: str, persons: List[int]
) -> np.ndarray:
    """Check the persons' boxes and scores, and return the scores."""
    try:
        boxes = np.array(
            [content[i]['bbox'][:4] for i in persons], dtype=float
        ).reshape(len(persons), 4)
        scores = np.array([content[i]['score'] for i in persons], dtype=float)
    except (TypeError, ValueError) as e:
        raise InputError(
            f'{what}: every bbox must be four numbers and every score one: {e}'
        ) from e
    wrong = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] <= 0).any(axis=1)
    if wrong.any():
        i = persons[int(wrong.argmax())]
        raise InputError(
            f'{what}: entry {i} has the bbox {content[i]["bbox"]}, expected '
            'finite x, y, width, height with an area above zero '
            f'({wrong.sum()} such boxes)'
        )
    if np.isnan(scores).any():
        i = persons[int(np.isnan(scores).argmax())]
        raise InputError(f'{what}: entry {i} has a score that is not a number')
    return scores
