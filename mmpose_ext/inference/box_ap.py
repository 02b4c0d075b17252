"""COCO's average precision of person boxes."""

import contextlib
import io
from pathlib import Path
from typing import Dict, Optional, Sequence, Union

from ..checks import read_annotations
from ..checks.coco.api import CheckedCOCO, COCOeval


def count_persons(ann_file: Union[str, Path]) -> int:
    """Count the person boxes of a COCO annotation file."""
    data = read_annotations(str(ann_file))
    id_ = _person_category(data)
    return sum(ann['category_id'] == id_ for ann in data['annotations'])


def evaluate_boxes(
    ann_file: Union[str, Path], boxes: Sequence[dict]
) -> Dict[str, float]:
    """Average precision of person boxes, as COCO defines it.

    Args:
        ann_file (str | Path): COCO annotations with person boxes.
        boxes (Sequence[dict]): The content of a box file.

    Returns:
        Dict[str, float]: ``AP`` (the mean over IoU 0.50 to 0.95) and ``AP50``.
        Both are 0 if there are no boxes, and -1, as COCO has it, if the file
        has no category of persons.
    """
    if not boxes:
        return dict(AP=0.0, AP50=0.0)
    data = read_annotations(str(ann_file))
    id_ = _person_category(data)
    if id_ is None:
        return dict(AP=-1.0, AP50=-1.0)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = CheckedCOCO(str(ann_file), ann_data=data)
        found = truth.loadRes([{**box, 'category_id': id_} for box in boxes])
        evaluation = COCOeval(truth, found, 'bbox')
        evaluation.params.catIds = [id_]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(AP=float(evaluation.stats[0]), AP50=float(evaluation.stats[1]))


def _person_category(data: dict) -> Optional[int]:
    for category in data['categories']:
        if category['name'].lower() == 'person':
            return category['id']
    return None
