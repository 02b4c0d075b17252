"""Persons dropped from boxes, masks and keypoints alike."""

from typing import Dict

import torch
from mmcv.transforms import BaseTransform
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


def check_counts(results: dict) -> None:
    """Check that boxes, masks and keypoints are of as many persons.

    Args:
        results (dict): The result dict.

    Raises:
        ValueError: They are not.
    """
    counts = {k: len(results[k]) for k in _PER_PERSON if k in results}
    if len(set(counts.values())) > 1:
        found = ', '.join(f'{n} {key}' for key, n in counts.items())
        raise ValueError(
            f'expected as many of each, got {found}: a transform has dropped '
            'persons from some of them only (FilterMultiTask drops them from '
            'all, RandomCrop and FilterAnnotations do not)'
        )


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
        check_counts(results)
        boxes = results['gt_bboxes']
        side = torch.minimum(boxes.widths, boxes.heights)
        keep = (side >= self.min_size).numpy()
        for key in _PER_PERSON:
            if key in results:
                results[key] = results[key][keep]
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(min_size={self.min_size})'
