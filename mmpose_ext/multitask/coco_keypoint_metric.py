"""COCO's keypoint AP and AR, beside MMDet's metric of boxes and masks."""

import contextlib
import io
import os.path as osp
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np
import torch
from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from ..arguments import file_path, one_of
from ..errors import InputError
from ..files import write_json
from .coco_api import CheckedTruth

# In the order of pycocotools' stats.
_NAMES = [
    f'keypoints_{name}{part}'
    for name in ('mAP', 'AR')
    for part in ('', '_50', '_75', '_m', '_l')
]


@METRICS.register_module()
class CocoKeypointMetric(BaseMetric):
    """COCO's AP and AR of the keypoints that a detector of MMDet's predicts.

    This is pycocotools' evaluation of keypoints: at most 20 persons per
    image, object keypoint similarity (OKS) of 0.50 to 0.95 in steps of 0.05,
    with the ``sigmas`` of the dataset's metainfo. A person's score is that
    of its box, as in Detectron2. The images are those that the metric has
    seen, so that part of a dataset is evaluated as such.

    Metrics, from 0 to 1 and not rounded: ``keypoints_mAP``, ``_mAP_50``,
    ``_mAP_75``, ``_mAP_m``, ``_mAP_l``, and the same of ``keypoints_AR``.
    They are 0 where nobody is detected, and pycocotools' -1 where nobody is
    annotated, as with large persons in images of 64 pixels.

    Args:
        ann_file (str): COCO annotation file with keypoints.
        with_bbox (bool): Whether results carry their boxes. pycocotools then
            takes the area of a prediction, by which an unmatched one counts
            as medium or large, from its box instead of the extent of its
            keypoints: ``_m`` and ``_l`` change, the others do not. MMPose
            and Detectron2 do so. Defaults to ``False``.
        format_only (bool): Whether to write the results without evaluating
            them, as for COCO's server. Defaults to ``False``.
        outfile_prefix (str, optional): Write the results to this name plus
            ``.keypoints.json``, with MMDet's ``CocoMetric`` beside it.
            Defaults to ``None``, no file.
        overwrite (bool): Whether a file of results that is there when this
            metric is built may be replaced. Defaults to ``False``.
        collect_device (str): Where results of several processes are brought
            together, ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix (str, optional): What stands before the metrics' names.
            Defaults to ``None``, which is ``'coco'``.

    Raises:
        ValueError: If an argument is out of its range, or ``format_only``
            lacks an ``outfile_prefix``.
        InputError: If the annotation file is missing or not in COCO's
            format, or the file of results exists.
    """

    default_prefix = 'coco'

    def __init__(
        self,
        ann_file: str,
        with_bbox: bool = False,
        format_only: bool = False,
        outfile_prefix: Optional[str] = None,
        overwrite: bool = False,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.with_bbox = one_of('with_bbox', with_bbox, (False, True))
        self.format_only = one_of('format_only', format_only, (False, True))
        one_of('overwrite', overwrite, (False, True))
        if format_only and outfile_prefix is None:
            raise ValueError(
                'format_only=True writes a file and nothing else: expected '
                'an outfile_prefix, got None'
            )
        self.ann_file = file_path('ann_file', ann_file)
        self.outfile = None
        if outfile_prefix is not None:
            start = file_path('outfile_prefix', outfile_prefix)
            self.outfile = f'{start}.keypoints.json'
        if self.outfile and osp.exists(self.outfile) and not overwrite:
            raise InputError(
                f"'{self.outfile}' exists already: choose another "
                'outfile_prefix, or set overwrite=True'
            )
        self._truth = _quietly(CheckedTruth, self.ann_file)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the keypoints of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id`` and
                ``pred_instances`` of n persons: ``bboxes`` (n, 4), ``scores``
                (n,), ``labels`` (n,), ``keypoints`` (n, K, 2) in px of the
                image, the centre of the first pixel at 0.5, and
                ``keypoint_scores`` (n, K).

        Raises:
            ValueError: If there are no keypoints, another number of them
                than sigmas, or an image that is not in the annotation file.
        """
        num_keypoints = len(self._meta('sigmas'))
        for sample in data_samples:
            pred, img_id = sample['pred_instances'], sample['img_id']
            if img_id not in self._truth.imgs:
                raise ValueError(
                    f'got predictions of the image id {img_id}, which '
                    f"'{self.ann_file}' does not have"
                )
            if 'keypoints' not in pred:
                raise ValueError(
                    'CocoKeypointMetric got predictions of only '
                    f'{", ".join(sorted(pred.keys()))}: the model lacks a '
                    'keypoint head, expected a MultiTaskRoIHead with a '
                    'keypoint_head'
                )
            shape = tuple(pred['keypoints'].shape[1:])
            if shape != (num_keypoints, 2):
                raise ValueError(
                    f"the dataset's metainfo has {num_keypoints} sigmas, "
                    f'expected keypoints of shape (n, {num_keypoints}, 2), '
                    f'got {tuple(pred["keypoints"].shape)}'
                )
            keys = ('bboxes', 'scores', 'labels')
            keys += ('keypoints', 'keypoint_scores')
            result = {key: _to_numpy(pred[key]) for key in keys}
            self.results.append(dict(img_id=img_id, **result))

    def compute_metrics(self, results: List[dict]) -> Dict[str, float]:
        """Compute the metrics, and write the file of results.

        Args:
            results (List[dict]): What :meth:`process` has kept, of all
                images.

        Returns:
            Dict[str, float]: The metrics; empty with ``format_only``.

        Raises:
            InputError: If the annotation file lacks a class of the dataset,
                has no keypoints, or another number of them than sigmas.
        """
        cat_ids = self._category_ids()
        # One result per image, whichever process it comes from.
        by_image = {result['img_id']: result for result in results}
        persons = [
            person
            for result in by_image.values()
            for person in self._coco_results(result, cat_ids)
        ]
        if self.outfile:
            write_json(self.outfile, persons)
        if self.format_only:
            return {}

        sigmas = np.array(self._meta('sigmas'), dtype=float)
        self._check_annotations(cat_ids, len(sigmas))
        evaluation = _quietly(self._prepare, persons)
        evaluation.params.imgIds = list(by_image)
        evaluation.params.catIds = cat_ids
        evaluation.params.kpt_oks_sigmas = sigmas
        _quietly(evaluation.evaluate)
        _quietly(evaluation.accumulate)
        summary = io.StringIO()
        with contextlib.redirect_stdout(summary):
            evaluation.summarize()
        text = summary.getvalue().rstrip()
        print_log(f'Evaluating keypoints...\n{text}', logger='current')
        return dict(zip(_NAMES, map(float, evaluation.stats)))

    def _meta(self, key: str) -> Sequence:
        if not self.dataset_meta or key not in self.dataset_meta:
            raise ValueError(
                f"the dataset's metainfo has no '{key}': CocoKeypointMetric "
                'expects that of a CocoPersonDataset'
            )
        return self.dataset_meta[key]

    def _category_ids(self) -> List[int]:
        """The category of each label, as MMDet's ``CocoDataset`` counts."""
        classes = self._meta('classes')
        ids = self._truth.get_cat_ids(cat_names=classes)
        if len(ids) != len(classes):
            names = [cat['name'] for cat in self._truth.cats.values()]
            raise InputError(
                f"annotation file '{self.ann_file}' has the categories "
                f'{", ".join(names) or "none"}, expected {", ".join(classes)}'
            )
        return ids

    def _coco_results(self, result: dict, cat_ids: List[int]) -> List[dict]:
        """The persons of an image in COCO's format for results."""
        # COCO counts from the centre of the first pixel.
        keypoints = np.concatenate(
            [result['keypoints'] - 0.5, result['keypoint_scores'][..., None]],
            axis=-1,
        )
        n, k, _ = keypoints.shape
        columns = dict(
            category_id=np.take(cat_ids, result['labels']),
            score=result['scores'],
            keypoints=keypoints.reshape(n, 3 * k),
        )
        if self.with_bbox:
            corners = result['bboxes']
            columns['bbox'] = np.concatenate(
                [corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=-1
            )
        rows = zip(*(column.tolist() for column in columns.values()))
        return [
            dict(zip(('image_id', *columns), (result['img_id'], *row)))
            for row in rows
        ]

    def _check_annotations(self, cat_ids: List[int], k: int) -> None:
        """Refuse a file without keypoints, or with another number of them."""
        truth = self._truth
        annotations = truth.load_anns(truth.get_ann_ids(cat_ids=cat_ids))
        if not any(ann.get('keypoints') for ann in annotations):
            raise InputError(
                f"annotation file '{self.ann_file}': none of its "
                f'{len(annotations)} persons has keypoints; is it one of '
                'another task?'
            )
        # The reader has given all annotations the same number of them.
        number = len(annotations[0]['keypoints'])
        if number != 3 * k:
            raise InputError(
                f"annotation file '{self.ann_file}': each person has {number} "
                f'numbers as keypoints, expected {3 * k} (x, y, visibility of '
                f'{k})'
            )

    def _prepare(self, persons: List[dict]) -> COCOeval:
        # loadRes fails without a result; pycocotools' evaluation does not.
        found = self._truth.loadRes(persons) if persons else COCO()
        return COCOeval(self._truth, found, 'keypoints')


def _to_numpy(value: Any) -> np.ndarray:
    """Floats as float64, in which subtracting a half pixel is exact."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    value = np.asarray(value)
    return value.astype(float) if value.dtype.kind == 'f' else value


def _quietly(function: Callable, *args: Any) -> Any:
    """Call one of pycocotools' functions without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*args)
