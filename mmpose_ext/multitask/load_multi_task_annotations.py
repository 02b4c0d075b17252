"""Keypoints loaded with MMDet's boxes and masks.

Here coordinates are continuous: pixel edges are at whole numbers, so the
centre of the first pixel is at 0.5 and an image is w wide. MMDet's boxes are
in them already: it flips a box as w - x.
"""

from typing import Dict

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import TRANSFORMS

from .warp_keypoints import homography


@TRANSFORMS.register_module()
class LoadMultiTaskAnnotations(LoadAnnotations):
    """Load boxes, masks and keypoints.

    MMDet's ``LoadAnnotations`` with the keypoints of
    :class:`CocoPersonDataset`. COCO's are pixel indices: 0.5 is added, as
    Detectron2 does it, so that they are in the boxes' coordinates.

    Like the boxes, the keypoints are those of the image in its file: after a
    ``Resize``, as in MMDet's test pipelines, both stay in the pixels of the
    original image.

    Required Keys:

        - those of ``LoadAnnotations``
        - flip_indices (only its length K)
        - instances, with keypoints (K, 3): x, y in pixel indices, v

    Added Keys:

        - those of ``LoadAnnotations``
        - gt_keypoints (N, K, 3), float32: x, y in continuous px, and v: 0
          not labelled, 1 occluded, 2 visible. With N = 0, (0, K, 3)
        - keypoints_homography (3, 3), float64: the ``homography_matrix``
          already applied to the keypoints

    Args:
        with_keypoints (bool): Whether to load the keypoints. Defaults to
            ``True``.
        **kwargs: Those of ``LoadAnnotations``.

    Raises:
        ValueError: If the dataset has no keypoints.
    """

    def __init__(self, with_keypoints: bool = True, **kwargs):
        super().__init__(with_keypoints=with_keypoints, **kwargs)

    def transform(self, results: Dict) -> dict:
        """Load the annotations of an image.

        Args:
            results (dict): The result dict.

        Returns:
            dict: The result dict, with the added keys.
        """
        results = super().transform(results)
        if self.with_keypoints:
            self._load_kps(results)
        return results

    def _load_kps(self, results: dict) -> None:
        """Load the keypoints."""
        instances = results['instances']
        if 'flip_indices' not in results or not all(
            'keypoints' in instance for instance in instances
        ):
            raise ValueError(
                'the dataset has no keypoints: use CocoPersonDataset, or '
                'LoadMultiTaskAnnotations with with_keypoints=False'
            )
        keypoints = np.array(
            [instance['keypoints'] for instance in instances], np.float32
        ).reshape(-1, len(results['flip_indices']), 3)
        keypoints[..., :2] += 0.5
        results['gt_keypoints'] = keypoints
        results['keypoints_homography'] = homography(
            results, 'homography_matrix'
        )

    def __repr__(self) -> str:
        return (
            f'{super().__repr__()[:-1]}, with_keypoints={self.with_keypoints})'
        )
