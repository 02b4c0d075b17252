"""COCO's Python interface of MMDet, which reads annotations by our rules."""

from typing import Optional, Set

import mmdet.evaluation.metrics.coco_metric as _metric
from mmdet.datasets.api_wrappers import COCO, COCOeval

from ..checks import read_annotations
from ..checks.coco import is_empty


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
    Annotations without a mask are remembered in ``unmasked``, because the
    evaluation overwrites segmentations by others of their form.

    Args:
        annotation_file (str, optional): The file. Defaults to ``None``.
    """

    with_names = False

    def __init__(self, annotation_file: Optional[str] = None):
        super().__init__(annotation_file)
        self.unmasked: Set[int] = {
            id_
            for id_, annotation in self.anns.items()
            if is_empty(annotation['segmentation'])
        }


class MaskedEval(COCOeval):
    """COCO's evaluation, in which masks count where there are some.

    An annotation without a segmentation, beside others that have one, says
    nothing of the mask: its box is a region to be ignored, like a crowd. So
    is a predicted mask without a pixel in such an image, which lies nowhere.
    """

    def _prepare(self) -> None:
        super()._prepare()
        if self.params.iouType != 'segm':
            return
        for key, truth in self._gts.items():
            unmasked = [a['id'] in self.cocoGt.unmasked for a in truth]
            if not any(unmasked):
                continue
            self._gts[key] = [
                self._as_region(a) if without else a
                for a, without in zip(truth, unmasked)
            ]
            self._dts[key] = [
                found for found in self._dts[key] if found['area'] > 0
            ]

    def _as_region(self, annotation: dict) -> dict:
        x, y, w, h = annotation['bbox']
        box = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        region = dict(annotation, segmentation=box, iscrowd=1, ignore=1)
        region['segmentation'] = self.cocoGt.annToRLE(region)
        return region


_metric.COCO = CheckedTruth
_metric.COCOeval = MaskedEval
