"""PCK at several thresholds, per keypoint and over some of them."""

from typing import Dict, Optional, Sequence

import numpy as np
from mmpose.evaluation.functional import keypoint_pck_accuracy
from mmpose.evaluation.metrics import PCKAccuracy
from mmpose.registry import METRICS

from ..arguments import each, positive
from ..errors import InputError


@METRICS.register_module()
class KeypointPCK(PCKAccuracy):
    """MMPose's ``PCKAccuracy`` at several thresholds, and per keypoint.

    A keypoint is correct if it is nearer to the truth than a share of the
    longer side of the person's box, that of the ground truth. Those that are
    not labelled do not count. Metrics, from 0 to 1:

    - ``PCK@thr`` per threshold: the mean of the keypoints' rates, as
      MMPose's ``PCK`` is. Each keypoint weighs the same, however often it is
      labelled.
    - ``name@thr`` per keypoint, at the threshold in the middle: the rate of
      correct ones.

    A keypoint that is labelled nowhere has the rate nan and is no part of
    the mean, which is nan where none is labelled.

    Args:
        thrs (Sequence[float]): Thresholds, as shares of the longer side.
            Defaults to ``(0.05, 0.1, 0.2)``.
        keypoints (Sequence[str], optional): Names of the keypoints that
            count. Defaults to ``None``, all of the data set.
        collect_device (str): Where results of several processes are
            collected, ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix (str, optional): Prefix of the metrics' names. Defaults to
            ``None``, which is none.

    Raises:
        ValueError: If a threshold is not positive, or ``keypoints`` is no
            list of names.
        InputError: If the data set has no keypoint of a name, as soon as
            the metric is given the data set's metainfo.
    """

    default_prefix = ''

    def __init__(
        self,
        thrs: Sequence[float] = (0.05, 0.1, 0.2),
        keypoints: Optional[Sequence[str]] = None,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.thrs = each(positive, 'thrs', thrs)
        good = isinstance(keypoints, (list, tuple)) and len(keypoints)
        if keypoints is not None and not good:
            raise ValueError(
                f'keypoints must be a list of names, got {keypoints!r}'
            )
        self.keypoints = keypoints

    @PCKAccuracy.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        """Check the names here, which is before the first image."""
        known = dataset_meta['keypoint_name2id']
        for name in self.keypoints or ():
            if name not in known:
                raise InputError(
                    f"KeypointPCK: keypoints has '{name}', but those of the "
                    f'data set are {", ".join(known)}'
                )
        self._dataset_meta = dataset_meta

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute the metrics.

        Args:
            results (list): What ``process`` has kept of all images.

        Returns:
            Dict[str, float]: The metrics.
        """
        ids = self.dataset_meta['keypoint_name2id']
        names = self.keypoints or list(ids)
        chosen = [ids[name] for name in names]
        pred, gt, mask, sizes = (
            np.concatenate([result[key] for result in results])
            for key in ('pred_coords', 'gt_coords', 'mask', 'bbox_size')
        )
        metrics = {}
        for i, thr in enumerate(self.thrs):
            rates, mean, count = keypoint_pck_accuracy(
                pred[:, chosen],
                gt[:, chosen],
                mask[:, chosen],
                thr,
                sizes.copy(),  # of which it changes those of empty boxes
            )
            metrics[f'PCK@{thr:g}'] = float(mean if count else np.nan)
            if i == len(self.thrs) // 2:
                for name, rate in zip(names, rates):
                    # -1 where it is labelled nowhere.
                    metrics[f'{name}@{thr:g}'] = float(
                        rate if rate >= 0 else np.nan
                    )
        return metrics
