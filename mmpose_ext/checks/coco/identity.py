"""Rules about ids: each once, each with its partner."""

from collections import Counter
from typing import Callable, List, Tuple

import numpy as np

from .columns import column, whole
from .problems import show
from .table import CocoTable, as_numbers, has_floats

_PERSON = 1  # the category of what MMPose predicts bottom-up, or in boxes


def check_ids(table: CocoTable) -> None:
    """Check that ids are whole numbers, each once and with its partner."""
    images, good = _check_ids(table, table.images, 'id', table.image)
    _check_repeated(table, images, good, 'images', table.image)
    categories, known = _check_ids(
        table, table.categories, 'id', table.category
    )
    _check_repeated(table, categories, known, 'categories', table.category)

    ids, fine = _check_ids(table, table.annotations, 'id', table.annotation)
    _check_repeated(table, ids, fine, 'annotations', table.annotation)

    table.image_of = _find_partners(
        table, 'image_id', images[good], np.flatnonzero(good), 'images'
    )
    _find_partners(
        table,
        'category_id',
        categories[known],
        np.flatnonzero(known),
        'categories',
    )


def _check_ids(
    table: CocoTable,
    objects: List[dict],
    key: str,
    place: Callable[[int], str],
) -> Tuple[np.ndarray, np.ndarray]:
    """Ids as int64 (N,), and which of them are some (N,)."""
    values = column(objects, key)
    found, good = whole(values)
    table.problems.add_where(
        ~good,
        place,
        lambda i: f'{key} {show(values[i])}',
        'a whole number from -2^53 to 2^53',
    )
    if has_floats(values) and good.all():
        as_numbers(objects, key, found)
    return found, good


def _check_repeated(
    table: CocoTable,
    ids: np.ndarray,
    good: np.ndarray,
    name: str,
    place: Callable[[int], str],
) -> None:
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    before = first[inverse]
    # A value that is no id has 0 here: it repeats nothing.
    wrong = good & good[before] & (before != np.arange(len(ids)))

    def got(i: int) -> str:
        text = f'also at index {i} of {name}, first at {before[i]}'
        if name == 'annotations':
            of = [
                show(table.annotations[j].get('image_id'))
                for j in (i, before[i])
            ]
            text += f' (of the images {of[0]} and {of[1]})'
        return text

    table.problems.add_where(wrong, place, got, 'each id once')


def _find_partners(
    table: CocoTable,
    key: str,
    ids: np.ndarray,
    index: np.ndarray,
    name: str,
) -> np.ndarray:
    """The index of the object that each annotation names, -1 for none."""
    values = column(table.annotations, key)
    named, good = _check_ids(table, table.annotations, key, table.annotation)
    if not len(ids):
        partner = np.full(len(named), -1)
    else:
        order = np.argsort(ids, kind='stable')
        at = np.searchsorted(ids[order], named).clip(max=len(ids) - 1)
        partner = np.where(ids[order][at] == named, index[order][at], -1)
    partner[~good] = -1
    table.problems.add_where(
        good & (partner < 0),
        table.annotation,
        lambda i: f'{key} {show(values[i])}',
        f"the id of one of the file's {name}",
    )
    return partner


def check_categories(table: CocoTable) -> None:
    """Check the names of the categories."""
    names = column(table.categories, 'name')
    counts = Counter(n for n in names if type(n) is str)
    table.problems.add_where(
        np.array([counts.get(_hashable(n), 0) != 1 for n in names], bool),
        table.category,
        lambda i: f'name {show(names[i])}',
        'a name that no other category has',
    )


def _hashable(value):
    return value if type(value) is str else None


def shift_annotations(table: CocoTable) -> None:
    """Let the ids of annotations start at 1, if one is below.

    COCO's evaluation writes 0 for "not matched", that of MMPose -1, so that
    a prediction that meets such an annotation would count as wrong.
    """
    shift = 1 - min(column(table.annotations, 'id'), default=1)
    if shift > 0:
        for annotation in table.annotations:
            annotation['id'] += shift


def number_the_person(table: CocoTable) -> None:
    """Give the only category that has labelled keypoints the id 1.

    MMPose gives this id to all bottom-up predictions, and takes no other
    from a file of detected boxes, so that another one would score 0. Where
    several categories have keypoints, a warning says this.
    """
    found = {
        a['category_id']
        for a in table.annotations
        if a.get('keypoints') and a['num_keypoints']
    }
    if len(found) > 1:
        table.notes.append(
            f'{len(found)} categories have keypoints: MMPose gives the '
            'category of an annotation to top-down predictions in '
            f'ground-truth boxes alone, and category {_PERSON} to bottom-up '
            'predictions and those in the boxes of a bbox_file, which '
            'therefore do not match the others'
        )
    if len(found) != 1 or found == {_PERSON}:
        return
    (id_,) = found
    swap = {id_: _PERSON, _PERSON: id_}
    for category in table.categories:
        category['id'] = swap.get(category['id'], category['id'])
    for a in table.annotations:
        a['category_id'] = swap.get(a['category_id'], a['category_id'])
    table.notes.append(
        f'the category {id_}, the only one with keypoints, is taken as '
        f'{_PERSON}, as MMPose has it'
    )
