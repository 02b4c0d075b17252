"""Rules about ids: each once, each with its partner."""

from collections import Counter
from typing import Tuple

import numpy as np

from .problems import show
from .table import CocoTable, Objects

_PERSON = 1  # the category of what MMPose predicts bottom-up, or in boxes


def check_ids(table: CocoTable) -> None:
    """Check that ids are whole numbers, each once and with its partner."""
    images = _check_unique(table.images)
    categories = _check_unique(table.categories)
    _check_unique(table.annotations)
    table.image_of = _find_partners(table, 'image_id', *images, 'images')
    _find_partners(table, 'category_id', *categories, 'categories')


def _check_unique(objects: Objects) -> Tuple[np.ndarray, np.ndarray]:
    """Ids as int64 (N,), and which of them are valid (N,)."""
    ids, good = objects.whole('id')
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    before = first[inverse]
    # A value that is no id has 0 here: it repeats nothing.
    wrong = good & good[before] & (before != np.arange(len(ids)))

    def got(i: int) -> str:
        text = f'also at index {i} of {objects.key}, first at {before[i]}'
        if objects.key == 'annotations':
            of = [show(objects[j].get('image_id')) for j in (i, before[i])]
            text += f' (of the images {of[0]} and {of[1]})'
        return text

    objects.refuse(wrong, 'id', 'each id once', got)
    return ids, good


def _find_partners(
    table: CocoTable, key: str, ids: np.ndarray, good: np.ndarray, name: str
) -> np.ndarray:
    """The index of the object whose id each annotation has, -1 for none.

    ``ids`` (M,) are those of all objects; ``good`` (M,) says which are valid.
    """
    named, known = table.annotations.whole(key)
    index = np.flatnonzero(good)
    index = index[np.argsort(ids[index], kind='stable')]
    partner = np.full(len(named), -1)
    if len(index):
        at = np.searchsorted(ids[index], named).clip(max=len(index) - 1)
        found = known & (ids[index][at] == named)
        partner[found] = index[at][found]
    table.annotations.refuse(
        known & (partner < 0), key, f"the id of one of the file's {name}"
    )
    return partner


def check_categories(table: CocoTable) -> None:
    """Check the names of the categories."""
    names = table.categories.column('name')
    counts = Counter(n for n in names if type(n) is str)
    table.categories.refuse(
        np.array([type(n) is not str or counts[n] > 1 for n in names], bool),
        'name',
        'a name that no other category has',
    )


def shift_annotations(table: CocoTable) -> None:
    """Let the ids of annotations start at 1, if one is below.

    COCO's evaluation writes 0 for "not matched", that of MMPose -1, so that
    a prediction that meets such an annotation would count as wrong.
    """
    shift = 1 - min(table.annotations.column('id'), default=1)
    if shift > 0:
        for annotation in table.annotations.items:
            annotation['id'] += shift


def number_the_person(table: CocoTable) -> None:
    """Give the only category that has labelled keypoints the id 1.

    MMPose gives this id to all bottom-up predictions, and takes no other
    from a file of detected boxes, so that another one would score 0. Where
    several categories have keypoints, a warning says this.
    """
    found = {
        a['category_id']
        for a in table.annotations.items
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
    for category in table.categories.items:
        category['id'] = swap.get(category['id'], category['id'])
    for a in table.annotations.items:
        a['category_id'] = swap.get(a['category_id'], a['category_id'])
    table.notes.append(
        f'the category {id_}, the only one with keypoints, is taken as '
        f'{_PERSON}, as MMPose has it'
    )
