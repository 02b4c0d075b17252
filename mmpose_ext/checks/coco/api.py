"""COCO's Python interface, which reads annotations by our rules.

``COCOeval`` is the one over faster-coco-eval, also where xtcocotools works;
xtcocotools' gives the same without that package, more slowly.
"""

from typing import Any, Optional

import mmpose.datasets.datasets.base.base_coco_style_dataset as _dataset
import mmpose.evaluation.metrics.coco_metric as _metric
import mmpose.evaluation.metrics.coco_wholebody_metric as _wholebody
from xtcocotools.coco import COCO

from .reader import read_annotations

try:
    from ...compat.xtcocotools.cocoeval import COCOeval
except ImportError:
    from xtcocotools.cocoeval import COCOeval


class CheckedCOCO(COCO):
    """The ``COCO`` of MMPose, which reads files by :func:`read_annotations`.

    Args:
        annotation_file (str, optional): The file. Defaults to ``None``.
        test_index (list, optional): Which keypoints are kept. Defaults to
            ``None``, all of them.
        ann_data (dict, optional): The content of the file, which then is not
            read. Defaults to ``None``.

    Raises:
        InputError: As :func:`read_annotations`.
    """

    with_names = True

    def __init__(
        self,
        annotation_file: Optional[str] = None,
        test_index: Any = None,
        ann_data: Optional[dict] = None,
    ):
        if annotation_file is not None and ann_data is None:
            ann_data = read_annotations(
                annotation_file, with_names=self.with_names
            )
        super().__init__(annotation_file, test_index, ann_data)


class CheckedTruth(CheckedCOCO):
    """That of MMPose's metrics, which need no names of images.

    ``CocoMetric`` writes such a file itself, where it gets no other.
    """

    with_names = False


def read_strictly_in_mmpose() -> None:
    """Let MMPose's datasets and metrics read annotations by our rules.

    Metrics evaluate by the ``COCOeval`` of this module.
    """
    _dataset.COCO = CheckedCOCO
    _metric.COCO = CheckedTruth
    _metric.COCOeval = _wholebody.COCOeval = COCOeval
