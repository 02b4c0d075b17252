"""The one reader of annotation files, and the order of its rules."""

from typing import Any, Optional

import numpy as np

from ..json_files import read_json, without_collection
from .boxes import check_areas, check_boxes
from .columns import whole
from .identity import (
    check_categories,
    check_ids,
    number_the_person,
    shift_annotations,
)
from .images import check_image_sizes, check_images
from .keypoints import check_keypoints
from .problems import MISSING, Problems
from .segmentations import check_segmentations
from .table import CocoTable, check_structure

_DEEPEST = 50  # of what no rule knows: copies of it must not overflow
# What other rules look into, as far as it goes.
_CHECKED = ('id', 'image_id', 'category_id', 'area', 'iscrowd', 'bbox')
_CHECKED += ('keypoints', 'segmentation')


def read_annotations(
    path: str,
    what: str = 'annotation file',
    with_names: bool = True,
    img_dir: Optional[str] = None,
    turns: bool = True,
    estimate_areas: bool = True,
) -> dict:
    """Read an annotation file in COCO's format, and check all of it.

    Training, testing, all metrics and the tools read annotations by this
    function, so that the same files are refused, and the others read alike.
    What people's files have and what can be meant in one way only is
    accepted, with one warning for each kind; the content is then as if the
    file had it right:

    - areas that are missing, zero, negative or NaN are 0.53 of the box;
    - unlabelled keypoints that are not finite are at 0, 0;
    - annotations without keypoints, beside others that have some, have
      unlabelled ones; ``num_keypoints`` is the number of labelled keypoints
      (which CrowdPose counts in its own way);
    - annotations without a segmentation have an empty mask, as run lengths;
      polygons of fewer than three points are left out;
    - ``iscrowd`` is 0 where it is missing;
    - ids are whole numbers, also where the file has 3.0; where one of the
      annotations has an id below 1, all are shifted, because COCO's
      evaluation takes such ids for "not matched";
    - the only category that has keypoints has the id 1.

    Args:
        path (str): The file.
        what (str): What it is and where it was named; begins the messages.
            Defaults to ``'annotation file'``.
        with_names (bool): Whether each image must have a file name. Defaults
            to ``True``.
        img_dir (str, optional): The folder of the images, to compare their
            sizes with those of the file; see :func:`check_image_sizes`.
            Defaults to ``None``, which leaves that out.
        turns (bool): Whether images are loaded as their EXIF orientation
            says. Defaults to ``True``.
        estimate_areas (bool): Whether areas may be missing, and those that
            are not above 0 are estimated. Defaults to ``True``.

    Returns:
        dict: ``images``, ``annotations`` and ``categories``, and what else
        the file has.

    Raises:
        InputError: The file cannot be read, or it has problems: the message
            has the first ten, and the number of the others.
    """
    with without_collection():
        content = read_json(path, what)
        problems = Problems(f"{what} '{path}'", path)
        check_structure(content, problems)
        table = CocoTable(content, problems)
        if img_dir is not None:
            check_image_sizes(table.images, img_dir, turns)
        _apply_rules(table, with_names, estimate_areas)
        problems.raise_any()
        shift_annotations(table)
        number_the_person(table)
        for note in table.notes:
            problems.warn(note)
    return content


def _apply_rules(
    table: CocoTable, with_names: bool, estimate_areas: bool
) -> None:
    check_ids(table)
    check_categories(table)
    check_images(table, with_names)
    check_boxes(table)
    _check_crowds(table)
    check_areas(table, estimate_areas)
    check_keypoints(table)
    check_segmentations(table)
    _check_depth(table)


def _check_crowds(table: CocoTable) -> None:
    values = table.annotations.column('iscrowd')
    found, good = whole(
        [int(v) if v is True or v is False else v for v in values]
    )
    missing = np.array([v is MISSING for v in values], bool)
    wrong = ~missing & ~(good & np.isin(found, (0, 1)))
    table.annotations.refuse(wrong, 'iscrowd', '0 or 1')
    if not set(map(type, values)) <= {int}:
        for annotation, value in zip(table.annotations.items, found.tolist()):
            annotation['iscrowd'] = value


def _check_depth(table: CocoTable) -> None:
    """Refuse what is nested so deeply that MMPose cannot copy it."""
    for objects in (table.images, table.annotations, table.categories):
        for key in sorted(set().union(*objects.items).difference(_CHECKED)):
            values = objects.column(key)
            if {list, dict}.isdisjoint(map(type, values)):
                continue
            objects.refuse(
                np.array([_is_deep(v) for v in values]),
                key,
                f'lists and objects of at most {_DEEPEST} levels',
                lambda i, key=key: f"'{key}'",
            )


def _is_deep(value: Any) -> bool:
    level, inside = 0, [value]
    while inside:
        inside = [
            item
            for part in inside
            if type(part) in (list, dict)
            for item in (part.values() if type(part) is dict else part)
            if type(item) in (list, dict)
        ]
        level += 1
        if level > _DEEPEST:
            return True
    return False
