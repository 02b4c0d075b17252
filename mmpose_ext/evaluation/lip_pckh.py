"""PCKh as the pose task of Look into Person counts it."""

import csv
import io
import logging
import os.path as osp
from typing import Any, Dict, Optional, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmpose.registry import METRICS

from ..arguments import file_path, one_of, positive
from ..errors import InputError
from ..files import write_atomic

_NUM_JOINTS = 16
_UPPER_NECK, _HEAD_TOP = 8, 9
# Pelvis (6) and thorax (7) belong to no group.
_GROUPS = dict(
    Head=[8, 9],
    Shoulder=[12, 13],
    Elbow=[11, 14],
    Wrist=[10, 15],
    Hip=[2, 3],
    Knee=[1, 4],
    Ankle=[0, 5],
)
_POOLS = dict(UBody=[*range(8, 16)], PCKh=[*range(6), *range(8, 16)])


@METRICS.register_module()
class LIPPCKh(BaseMetric):
    """PCKh of the single-person pose task of Look into Person (LIP).

    The percentage of joints at most half a head from the truth, by the rules
    that "Global Context for Convolutional Pose Machines" (Osokin) is
    evaluated with:

    - The head is as long as the distance from upper neck to head top (MPII's
      factor of 0.6 is not applied). Images where one of them is not labelled
      do not count.
    - A joint with a negative coordinate is not labelled and does not count;
      nor does one at exactly (0, 0) with ``keypoints_visible`` 0, which is
      how a COCO file says the same. Visibility does not matter otherwise:
      occluded joints count.
    - A negative coordinate of a prediction, x or y, becomes 1; the other
      one stays.

    Metrics, in percent:

    - ``Head`` (upper neck and head top), ``Shoulder``, ``Elbow``, ``Wrist``,
      ``Hip``, ``Knee``, ``Ankle``: the mean of the two joints' percentages.
    - ``UBody``: all joints from the upper neck to the wrists, pooled.
    - ``PCKh``: all joints but pelvis and thorax, pooled.
    - ``error``: 100 - ``PCKh``, for schedules that wait for a minimum.

    A metric for which no joint counts is nan.

    Args:
        thr (float): Largest distance of a correct joint in heads. Defaults
            to 0.5.
        submission_file (str, optional): CSV file to write the predictions
            to, for LIP's server: a row per image of its file name, then x
            and y per joint, rounded to px of the image; -1 for what is no
            number. (No description of the server's format was at hand; this
            is what public evaluations of LIP read.) Defaults to ``None``.
        overwrite (bool): Whether a submission file that exists already
            may be replaced. Defaults to ``False``.
        collect_device (str): Where results of several processes are
            collected, ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix (str, optional): Prefix of the metrics' names. Defaults to
            ``None``, which is ``'lip'``.

    Raises:
        ValueError: If an argument is out of its range, the submission file
            is there already, or a sample has not one person of 16 joints.
    """

    default_prefix = 'lip'

    def __init__(
        self,
        thr: float = 0.5,
        submission_file: Optional[str] = None,
        overwrite: bool = False,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.thr = positive('thr', thr)
        one_of('overwrite', overwrite, (False, True))
        if submission_file is not None:
            submission_file = file_path('submission_file', submission_file)
        if submission_file and osp.exists(submission_file) and not overwrite:
            raise InputError(
                f"submission_file '{submission_file}' exists already: choose "
                'another name, or set overwrite=True'
            )
        self.submission_file = submission_file

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what the metrics need of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with the keypoints of
                ``pred_instances`` and ``gt_instances``, (1, 16, 2) in px of
                the image, and ``img_path`` if a submission is written.

        Raises:
            ValueError: If a sample has not one person of 16 joints.
        """
        for sample in data_samples:
            truth = sample['gt_instances']
            gt = _joints(truth, 'ground truth', sample)
            visible = truth.get('keypoints_visible', np.ones(len(gt)))
            hidden = np.reshape(visible, (len(gt), -1))[:, 0] == 0
            gt[hidden & (gt == 0).all(axis=1)] = -1
            self.results.append(
                dict(
                    pred=_joints(sample['pred_instances'], 'pose', sample),
                    gt=gt,
                    name=osp.basename(sample.get('img_path', '')),
                )
            )

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute the metrics, and write the submission file.

        Args:
            results (list): What :meth:`process` has kept, of all images.

        Returns:
            Dict[str, float]: The metrics, in percent.
        """
        if self.submission_file:
            self._write_submission(results)
        shape = (-1, _NUM_JOINTS, 2)
        pred = np.array([r['pred'] for r in results]).reshape(shape)
        gt = np.array([r['gt'] for r in results]).reshape(shape)

        neck, top = gt[:, _UPPER_NECK], gt[:, _HEAD_TOP]
        head = np.linalg.norm(top - neck, axis=-1, keepdims=True)
        counts = (gt >= 0).all(axis=-1)
        counts &= counts[:, [_UPPER_NECK]] & counts[:, [_HEAD_TOP]]
        distance = np.linalg.norm(np.where(pred < 0, 1, pred) - gt, axis=-1)
        correct = counts & (distance <= self.thr * head)
        if not counts.any():
            print_log(
                f'LIPPCKh: none of {len(results)} images has a labelled upper '
                'neck and head top, so that there is nothing to evaluate',
                logger='current',
                level=logging.WARNING,
            )

        hits, total = correct.sum(axis=0), counts.sum(axis=0)
        metrics = {}
        for name, pair in _GROUPS.items():
            metrics[name] = _percent(hits[pair], total[pair])
        for name, pool in _POOLS.items():
            metrics[name] = _percent(
                hits[pool].sum(keepdims=True), total[pool].sum(keepdims=True)
            )
        metrics['error'] = 100 - metrics['PCKh']
        return metrics

    def _write_submission(self, results: list) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        for result in results:
            xy = np.rint(np.nan_to_num(result['pred'], nan=-1)).astype(int)
            writer.writerow([result['name'], *xy.ravel().tolist()])
        write_atomic(self.submission_file, text.getvalue().encode())


def _joints(instances: dict, what: str, sample: dict) -> np.ndarray:
    """A copy of the joints of the only person, (16, 2), float64."""
    keypoints = np.array(instances['keypoints'], dtype=float)
    if keypoints.shape != (1, _NUM_JOINTS, 2):
        raise ValueError(
            f'LIPPCKh takes one person of {_NUM_JOINTS} joints (x, y) per '
            f'image, got a {what} of shape {keypoints.shape} for '
            f"'{sample.get('img_path')}'"
        )
    return keypoints[0]


def _percent(hits: np.ndarray, total: np.ndarray) -> float:
    """Mean percentage of the joints that count; nan if none does."""
    there = total > 0
    if not there.any():
        return float('nan')
    return float(np.mean(100 * hits[there] / total[there]))
