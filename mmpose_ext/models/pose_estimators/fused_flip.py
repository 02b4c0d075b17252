"""Flip test in one pass through the network."""

from typing import Any, List, Tuple, Union

import torch
from mmpose.utils.typing import SampleList
from torch import Tensor


def split_batch(feats: Any) -> Tuple[Any, Any]:
    """Split features into those of the first and of the second half.

    Args:
        feats (Any): A tensor of shape (2 N, ...), or lists and tuples of
            them, nested as a backbone or neck likes.

    Returns:
        tuple[Any, Any]: Two of the same structure, of shapes (N, ...).
    """
    if isinstance(feats, Tensor):
        return feats.chunk(2)
    halves = [split_batch(feat) for feat in feats]
    return tuple(type(feats)(half[i] for half in halves) for i in (0, 1))


class FusedFlip:
    """Mixin of both kinds of estimators."""

    def predict(
        self, inputs: Union[Tensor, List[Tensor]], data_samples: SampleList
    ) -> SampleList:
        """Predict with one pass for the images and their mirror images.

        Args:
            inputs (Tensor | list[Tensor]): Images (N, 3, H, W); for a
                bottom-up model with ``multiscale_test`` one such batch for
                each scale.
            data_samples (list[PoseDataSample]): The N samples.

        Returns:
            list[PoseDataSample]: As of MMPose's estimator.
        """
        if not self.test_cfg.get('flip_test', False):
            return super().predict(inputs, data_samples)
        if isinstance(inputs, Tensor):
            feats = self._both(inputs)
        else:
            feats = [self._both(images) for images in inputs]
        preds = self.head.predict(feats, data_samples, test_cfg=self.test_cfg)
        instances, fields = (
            preds if isinstance(preds, tuple) else (preds, None)
        )
        return self.add_pred_to_datasample(instances, fields, data_samples)

    def _both(self, images: Tensor) -> list:
        """Features of the images, and of the mirror images."""
        both = torch.cat([images, images.flip(-1)])
        return list(split_batch(self.extract_feat(both)))
