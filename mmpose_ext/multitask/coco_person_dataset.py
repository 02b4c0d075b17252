"""Persons of COCO with their boxes, masks and keypoints."""

from typing import Any, Dict, List, Optional

import numpy as np
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.hub import get_config
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from ..arguments import non_negative_int
from ..errors import InputError
from .coco_api import CheckedCOCO

# What :func:`parse_pose_metainfo` turns into something else.
_RAW_KEYS = ('from_file', 'keypoint_info', 'skeleton_info', 'joint_weights')


@DATASETS.register_module()
class CocoPersonDataset(CocoDataset):
    """The persons of a COCO keypoint file, for MMDet's detectors.

    The data of "Offset Allows for Extra Flexibility: Multitask System for
    Pose Estimation and Instance Segmentation" (Ye and Ma), section 4.1. One
    file serves all tasks: COCO's ``person_keypoints_*2017.json`` has the
    boxes, the masks and the keypoints of all its persons.

    It takes the arguments of MMDet's ``CocoDataset``, with two additions:

    - ``metainfo`` may also describe other keypoints than COCO's, as MMPose's
      datasets do: ``dict(from_file=...)`` or a ``keypoint_info`` and its
      companions. The dataset's ``metainfo`` has them parsed
      (``flip_indices``, ``sigmas``, ``keypoint_id2name`` ...) beside
      MMDet's ``classes`` and ``palette``.
    - ``filter_cfg`` may have ``min_keypoints`` (int): images whose persons,
      crowds aside, have fewer labelled keypoints in all are left out in
      training. Defaults to 0, which keeps them; Detectron2 uses 1.

    What it adds to MMDet's data info:

    - ``flip_indices`` (list[int]): The keypoints' partners in a mirror.
    - ``instances``: Each has ``keypoints``, K lists of x, y and v. As in
      COCO, x and y are pixel indices (the centre of the first pixel is 0)
      and v is 0 (not labelled), 1 (occluded) or 2 (visible). All are 0 if
      the annotation has no keypoints. Each also has a ``mask``: a person
      without a valid segmentation gets an empty one, as uncompressed RLE, so
      that its box and its keypoints are trained all the same. That needs
      ``poly2mask`` of the loading transform, its default.

    Raises:
        ValueError: ``min_keypoints`` is no whole number of at least 0.
        InputError: The file lacks the category, a person has another number
            of keypoints than the metainfo, or ``filter_cfg`` keeps no image.
    """

    COCOAPI = CheckedCOCO
    METAINFO: dict = dict(
        classes=('person',),
        palette=[(220, 20, 60)],
        **parse_pose_metainfo(
            get_config('mmpose::_base_/datasets/coco.py').dataset_info
        ),
    )

    @classmethod
    def _load_metainfo(cls, metainfo: Optional[dict] = None) -> dict:
        """Parse keypoints that are described as MMPose does it."""
        metainfo = dict(metainfo or {})
        parsed = {}
        if 'from_file' in metainfo or 'keypoint_info' in metainfo:
            parsed = parse_pose_metainfo(metainfo)
        others = {k: v for k, v in metainfo.items() if k not in _RAW_KEYS}
        return {**super()._load_metainfo(others), **parsed}

    def load_data_list(self) -> List[dict]:
        """Load the annotation file.

        Returns:
            list[dict]: The data info of each image.
        """
        data_list = super().load_data_list()
        if not self.cat_ids:
            raise InputError(
                f"annotation file '{self.ann_file}' has none of the "
                f'categories {list(self._metainfo["classes"])}'
            )
        return data_list

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Turn an image and its annotations into a data info.

        Args:
            raw_data_info (dict): ``raw_img_info`` and ``raw_ann_info`` of
                the file.

        Returns:
            dict: MMDet's data info with ``flip_indices``, and with
            ``keypoints`` in each of the ``instances``.
        """
        info = super().parse_data_info({**raw_data_info, 'raw_ann_info': []})
        info['flip_indices'] = self._metainfo['flip_indices']
        # One by one: MMDet leaves out bad annotations, and does not say which.
        for ann in raw_data_info['raw_ann_info']:
            parsed = super().parse_data_info(
                {**raw_data_info, 'raw_ann_info': [ann]}
            )
            for instance in parsed['instances']:
                instance['keypoints'] = self._parse_keypoints(ann)
                info['instances'].append(instance)
        return info

    def _parse_keypoints(self, ann: Dict[str, Any]) -> List[list]:
        """The keypoints of a person, (K, 3) as lists."""
        number = self._metainfo['num_keypoints']
        values = ann.get('keypoints') or [0] * (3 * number)
        if len(values) != 3 * number:
            raise InputError(
                f"annotation {ann.get('id')} in '{self.ann_file}' has "
                f'{len(values)} keypoint values, expected {3 * number} (x, y '
                f'and v of {number} keypoints)'
            )
        return np.reshape(values, (number, 3)).tolist()

    def filter_data(self) -> List[dict]:
        """Leave images out of the training, as ``filter_cfg`` says.

        Returns:
            list[dict]: The data infos that are kept.
        """
        kept = super().filter_data()
        minimum = non_negative_int(
            "filter_cfg['min_keypoints']",
            (self.filter_cfg or {}).get('min_keypoints', 0),
        )
        if minimum > 0 and not self.test_mode:
            kept = [i for i in kept if _count_labelled(i) >= minimum]
        if self.data_list and not kept:
            raise InputError(
                f'filter_cfg={dict(self.filter_cfg)} keeps none of '
                f"{len(self.data_list)} images of '{self.ann_file}'"
            )
        return kept


def _count_labelled(info: dict) -> int:
    """Labelled keypoints of all persons of an image but crowds."""
    return sum(
        v > 0
        for person in info['instances']
        if not person['ignore_flag']
        for *_, v in person['keypoints']
    )
