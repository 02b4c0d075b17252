"""Keypoints in MMDet's pipelines, which know boxes and masks only.

Here coordinates are continuous: pixel edges are at whole numbers, so the
centre of the first pixel is at 0.5 and an image is w wide. MMDet's boxes are
in them already: it flips a box as w - x.
"""

from typing import Dict

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import autocast_box_type

from ..arguments import positive

# What has one entry per person.
_PER_PERSON = (
    'gt_bboxes',
    'gt_bboxes_labels',
    'gt_ignore_flags',
    'gt_masks',
    'gt_keypoints',
)
# Px by which a point may lie outside an image: matrices are in float32.
_TOLERANCE = 1e-3


def _matrix(results: dict, key: str) -> np.ndarray:
    """A homography (3, 3) of the results; the identity if it is absent."""
    matrix = results.get(key)
    return np.eye(3) if matrix is None else np.asarray(matrix, np.float64)


def _check_counts(results: dict) -> None:
    """Raise ValueError if not all keys are about the same persons."""
    counts = {k: len(results[k]) for k in _PER_PERSON if k in results}
    if len(set(counts.values())) > 1:
        told = ', '.join(f'{n} {key}' for key, n in counts.items())
        raise ValueError(
            f'expected as many of each, got {told}: a transform has dropped '
            'persons from some of them only (FilterMultiTask drops them from '
            'all, RandomCrop and FilterAnnotations do not)'
        )


@TRANSFORMS.register_module()
class LoadMultiTaskAnnotations(LoadAnnotations):
    """Load boxes, masks and keypoints.

    MMDet's ``LoadAnnotations`` with the keypoints of
    :class:`CocoPersonDataset`. COCO's are pixel indices: 0.5 is added, as
    Detectron2 does it, so that they are in the boxes' coordinates.

    Like the boxes, the keypoints are taken to be those of the image as it is
    in the file. Behind a ``Resize``, as in MMDet's test pipelines, both stay
    in the pixels of the original image.

    Required Keys:

        - those of ``LoadAnnotations``
        - flip_indices (only its length K)
        - instances, with keypoints (K, 3): x, y in pixel indices, v

    Added Keys:

        - those of ``LoadAnnotations``
        - gt_keypoints (N, K, 3), float32: x, y in continuous px, and v: 0
          not labelled, 1 occluded, 2 visible. With N = 0, (0, K, 3)
        - keypoints_homography (3, 3), float64: the ``homography_matrix``
          that the keypoints have been through, which is none

    Args:
        with_keypoints (bool): Whether to load the keypoints. Defaults to
            ``True``.
        **kwargs: Those of ``LoadAnnotations``.

    Raises:
        ValueError: If the dataset gives no keypoints.
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
                'the dataset gives no keypoints: use CocoPersonDataset, or '
                'LoadMultiTaskAnnotations with with_keypoints=False'
            )
        keypoints = np.array(
            [instance['keypoints'] for instance in instances], np.float32
        ).reshape(-1, len(results['flip_indices']), 3)
        keypoints[..., :2] += 0.5
        results['gt_keypoints'] = keypoints
        results['keypoints_homography'] = _matrix(results, 'homography_matrix')

    def __repr__(self) -> str:
        return (
            f'{super().__repr__()[:-1]}, with_keypoints={self.with_keypoints})'
        )


@TRANSFORMS.register_module()
class WarpKeypoints(BaseTransform):
    """Move the keypoints to where the image's content has gone.

    MMDet's geometric transforms leave keypoints where they are, but its
    ``Resize`` (also inside ``RandomChoiceResize``), ``RandomFlip``,
    ``RandomCrop`` and those of its ``GeomTransform`` family record what they
    do in ``homography_matrix``. This applies it, and has left and right
    change places if it mirrors. A keypoint outside of the image is no longer
    labelled; one on its edge is inside.

    Place it behind all of them. Transforms that record nothing
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
        matrix = _matrix(results, 'homography_matrix')
        done = _matrix(results, 'keypoints_homography')
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


@TRANSFORMS.register_module()
class FilterMultiTask(BaseTransform):
    """Drop persons whose box has become too small, from all annotations.

    MMDet's ``FilterAnnotations`` would leave their keypoints, and a box of no
    width, used as a proposal, makes the box loss NaN. An image may be left
    without persons: it is then trained as background.

    Required Keys:

        - gt_bboxes (BaseBoxes[torch.float32] or np.ndarray) (N, 4)
        - gt_bboxes_labels, gt_ignore_flags, gt_masks, gt_keypoints
          (optional), of N persons

    Modified Keys:

        - gt_bboxes
        - gt_bboxes_labels, gt_ignore_flags, gt_masks, gt_keypoints

    Args:
        min_size (float): The smallest width and height in px of a box that
            is kept. Defaults to 1.0.

    Raises:
        ValueError: If ``min_size`` is not positive, or the keys are not
            about the same number of persons.
    """

    def __init__(self, min_size: float = 1.0):
        super().__init__()
        self.min_size = positive('min_size', min_size)

    @autocast_box_type()
    def transform(self, results: Dict) -> dict:
        """Filter the persons of an image.

        Args:
            results (dict): The result dict.

        Returns:
            dict: The result dict, with the persons that are kept.
        """
        _check_counts(results)
        boxes = results['gt_bboxes']
        side = torch.minimum(boxes.widths, boxes.heights)
        keep = (side >= self.min_size).numpy()
        for key in _PER_PERSON:
            if key in results:
                results[key] = results[key][keep]
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(min_size={self.min_size})'


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
            the image has been moved since the keypoints were.
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
        _check_counts(results)
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
    recorded = _matrix(results, 'homography_matrix')
    if not np.array_equal(recorded, _matrix(results, 'keypoints_homography')):
        raise ValueError(
            'the image has been resized, flipped or cropped, but not its '
            'keypoints: WarpKeypoints must follow the last such transform'
        )
