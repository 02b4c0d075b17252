"""PCK at several thresholds, per keypoint and over some of them."""

from typing import Dict, Optional, Sequence

import numpy as np
from mmpose.evaluation.functional import keypoint_pck_accuracy
from mmpose.evaluation.metrics import PCKAccuracy
from mmpose.registry import METRICS

from ..arguments import each, positive


@METRICS.register_module()
class KeypointPCK(PCKAccuracy):
    """MMPose's ``PCKAccuracy``, by the longer side of the box, in detail.

    The rate of labelled keypoints that are nearer to the truth than a share
    of the longer side of the box of the ground truth. Metrics, from 0 to 1:

    - ``PCK@thr`` per threshold: the mean of the rates of the keypoints, as
      MMPose's ``PCK`` is. One that is labelled nowhere does not count.
    - ``name@thr`` per keypoint: its rate, at the threshold in the middle.

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
        ValueError: If a threshold is not positive, or the data set has no
            keypoint of a name.
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
        self.keypoints = keypoints

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute the metrics.

        Args:
            results (list): What ``process`` has kept of all images.

        Returns:
            Dict[str, float]: The metrics.

        Raises:
            ValueError: If the data set has no keypoint of a name.
        """
        ids = self.dataset_meta['keypoint_name2id']
        names = list(self.keypoints or ids)
        unknown = [name for name in names if name not in ids]
        if unknown:
            raise ValueError(
                f'keypoints: no keypoint {unknown[0]!r} in the data set; it '
                f'has {", ".join(ids)}'
            )
        chosen = [ids[name] for name in names]

        def all_of(key: str) -> np.ndarray:
            return np.concatenate([result[key] for result in results])

        metrics = {}
        for i, thr in enumerate(self.thrs):
            rates, mean, _ = keypoint_pck_accuracy(
                all_of('pred_coords')[:, chosen],
                all_of('gt_coords')[:, chosen],
                all_of('mask')[:, chosen],
                thr,
                all_of('bbox_size'),
            )
            metrics[f'PCK@{thr:g}'] = float(mean)
            if i == len(self.thrs) // 2:
                for name, rate in zip(names, rates):
                    metrics[f'{name}@{thr:g}'] = float(rate)
        return metrics
