"""Keypoints packed with MMDet's boxes and masks."""

from typing import Dict

import numpy as np
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS

from .filter_multi_task import check_counts
from .warp_keypoints import homography


@TRANSFORMS.register_module()
class PackMultiTaskInputs(PackDetInputs):
    """Pack images, boxes, masks and keypoints for a detector.

    MMDet's ``PackDetInputs``, whose arguments it takes, with two more fields
    in ``gt_instances``, and in ``ignored_instances`` for crowds:

    - ``keypoints`` (N, K, 2), float32: x, y in continuous px of the input
    - ``keypoints_visible`` (N, K), float32: 0 not labelled, 1 occluded,
      2 visible

    Required Keys:

        - those of ``PackDetInputs``
        - gt_keypoints (N, K, 3), float32 (optional)
        - homography_matrix, keypoints_homography (3, 3) (optional)

    Raises:
        ValueError: If the keys are not about the same number of persons, or
            the image has been transformed since the keypoints were.
    """

    mapping_table = dict(
        PackDetInputs.mapping_table,
        gt_keypoints_xy='keypoints',
        gt_keypoints_visible='keypoints_visible',
    )

    def transform(self, results: Dict) -> dict:
        """Pack an image and its annotations.

        Args:
            results (dict): The result dict.

        Returns:
            dict: ``inputs`` (C, H, W), and the ``data_samples``.
        """
        check_counts(results)
        if 'gt_keypoints' in results:
            _check_warped(results)
            keypoints = results['gt_keypoints']
            results = dict(
                results,
                gt_keypoints_xy=keypoints[..., :2],
                gt_keypoints_visible=keypoints[..., 2],
            )
        return super().transform(results)


def _check_warped(results: dict) -> None:
    """Raise ValueError if the image has moved on without its keypoints."""
    recorded = homography(results, 'homography_matrix')
    if not np.array_equal(
        recorded, homography(results, 'keypoints_homography')
    ):
        raise ValueError(
            'the image has been resized, flipped or cropped, but not its '
            'keypoints: WarpKeypoints must follow the last such transform'
        )
