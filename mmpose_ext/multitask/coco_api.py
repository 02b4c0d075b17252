"""COCO's Python interface of MMDet, which reads annotations by our rules."""

from typing import Optional

import mmdet.evaluation.metrics.coco_metric as _metric
from mmdet.datasets.api_wrappers import COCO

from ..engine.checks import read_annotations


class CheckedCOCO(COCO):
    """The ``COCO`` of MMDet, which reads files by ``read_annotations``.

    Args:
        annotation_file (str, optional): The file. Defaults to ``None``.

    Raises:
        InputError: As ``read_annotations``.
    """

    with_names = True

    def __init__(self, annotation_file: Optional[str] = None):
        super().__init__()
        if annotation_file is not None:
            self.dataset = read_annotations(
                annotation_file, with_names=self.with_names
            )
            self.createIndex()
            self.img_ann_map = self.imgToAnns
            self.cat_img_map = self.catToImgs


class CheckedTruth(CheckedCOCO):
    """That of metrics, which need no names of images.

    MMDet's ``CocoMetric`` writes such a file itself, where it gets no other.
    """

    with_names = False


_metric.COCO = CheckedTruth
