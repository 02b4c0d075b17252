from typing import Dict

import numpy as np
from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import METRICS


@METRICS.register_module()
class EmptySafeCocoMetric(CocoMetric):
    """COCO keypoint AP and AR, also where there is no prediction at all.

    MMPose's ``CocoMetric`` fails without a prediction, as when a detector
    has found no person. Here that is evaluated like any other result, by
    the same COCO evaluation: everything is missed, AP and AR are 0.

    It takes the arguments of :class:`mmpose.evaluation.CocoMetric`.
    """

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute the metrics.

        Args:
            results (list): One (prediction, ground truth) for each sample,
                or an empty list.

        Returns:
            Dict[str, float]: The metrics of ``CocoMetric``.
        """
        return super().compute_metrics(results or [self._no_instance()])

    def _no_instance(self) -> tuple:
        """The result of a sample in which nobody was found."""
        num_keypoints = self.dataset_meta['num_keypoints']
        pred = dict(
            id=0,
            img_id=0,
            category_id=1,
            keypoints=np.zeros((0, num_keypoints, 2)),
            keypoint_scores=np.zeros((0, num_keypoints)),
            bbox_scores=np.zeros(0),
        )
        return pred, {}
