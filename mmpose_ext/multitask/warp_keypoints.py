"""Keypoints moved as MMDet's transforms move the image."""

from typing import Dict

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

# Px by which a point may lie outside an image: matrices are in float32.
_TOLERANCE = 1e-3


def homography(results: dict, key: str) -> np.ndarray:
    """A homography (3, 3) of the results; the identity if it is absent.

    Args:
        results (dict): The result dict.
        key (str): Its key.
    """
    matrix = results.get(key)
    return np.eye(3) if matrix is None else np.asarray(matrix, np.float64)


@TRANSFORMS.register_module()
class WarpKeypoints(BaseTransform):
    """Apply the image's geometric transforms to the keypoints.

    MMDet's geometric transforms leave keypoints where they are, but its
    ``Resize`` (also inside ``RandomChoiceResize``), ``RandomFlip``,
    ``RandomCrop`` and those of its ``GeomTransform`` family record what they
    do in ``homography_matrix``. This applies it, and swaps left and right if
    it mirrors. A keypoint outside of the image is no longer labelled; one on
    its edge is inside.

    Place it after all of them. Transforms that record nothing
    (``RandomAffine``, ``Expand``, ``Mosaic`` ...) must not be used.

    What has been applied is remembered in ``keypoints_homography``: a second
    ``WarpKeypoints`` applies only what has been recorded since the first,
    and :class:`PackMultiTaskInputs` raises if something has.

    Required Keys:

        - gt_keypoints (N, K, 3), float32: x, y in continuous px, and v
        - flip_indices (K)
        - img_shape (h, w)
        - homography_matrix (3, 3) (optional)
        - keypoints_homography (3, 3) (optional)

    Modified Keys:

        - gt_keypoints

    Added Keys:

        - keypoints_homography (3, 3), float64
    """

    def transform(self, results: Dict) -> dict:
        """Warp the keypoints of an image.

        Args:
            results (dict): The result dict.

        Returns:
            dict: The result dict, with new ``gt_keypoints``.
        """
        matrix = homography(results, 'homography_matrix')
        done = homography(results, 'keypoints_homography')
        step = matrix @ np.linalg.inv(done)

        keypoints = results['gt_keypoints'].copy()
        if np.linalg.det(step) < 0:
            keypoints = keypoints[:, results['flip_indices']]
        xyw = keypoints[..., :2] @ step[:, :2].T + step[:, 2]
        xy = xyw[..., :2] / xyw[..., 2:]
        height, width = results['img_shape'][:2]
        far = np.array([width, height]) + _TOLERANCE
        outside = (xy < -_TOLERANCE) | (xy > far)
        keypoints[..., :2] = xy
        keypoints[outside.any(-1), 2] = 0

        results['gt_keypoints'] = keypoints
        results['keypoints_homography'] = matrix
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}()'
