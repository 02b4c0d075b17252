"""The single-person part of Look into Person (LIP)."""

import csv
import os
import os.path as osp
from typing import Any, Dict, List, Tuple

import numpy as np
from mmengine.logging import print_log
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.registry import DATASETS

from ..arguments import positive_int
from ..checks import check_file
from ..errors import InputError
from .image_sizes import read_image_sizes
from .metainfo import make_category, make_metainfo

LIP_KEYPOINTS = (
    'right_ankle',
    'right_knee',
    'right_hip',
    'left_hip',
    'left_knee',
    'left_ankle',
    'pelvis',
    'thorax',
    'upper_neck',
    'head_top',
    'right_wrist',
    'right_elbow',
    'right_shoulder',
    'left_shoulder',
    'left_elbow',
    'left_wrist',
)
_LINKS = (
    ('right_ankle', 'right_knee'),
    ('right_knee', 'right_hip'),
    ('right_hip', 'pelvis'),
    ('pelvis', 'left_hip'),
    ('left_hip', 'left_knee'),
    ('left_knee', 'left_ankle'),
    ('pelvis', 'thorax'),
    ('thorax', 'upper_neck'),
    ('upper_neck', 'head_top'),
    ('right_wrist', 'right_elbow'),
    ('right_elbow', 'right_shoulder'),
    ('right_shoulder', 'thorax'),
    ('thorax', 'left_shoulder'),
    ('left_shoulder', 'left_elbow'),
    ('left_elbow', 'left_wrist'),
)
_COLUMNS = 1 + 3 * len(LIP_KEYPOINTS)
LIP_METAINFO = make_metainfo(
    'lip',
    LIP_KEYPOINTS,
    _LINKS,
    author='Ke Gong, Xiaodan Liang, Dongyu Zhang, Xiaohui Shen, Liang Lin',
    title='Look into Person: Self-supervised Structure-sensitive '
    'Learning and A New Benchmark for Human Parsing',
    container='IEEE Conference on Computer Vision and Pattern '
    'Recognition (CVPR)',
    year='2017',
    homepage='http://sysu-hcp.net/lip/',
)
LIP_CATEGORY = make_category(LIP_KEYPOINTS, _LINKS)


def read_lip(
    ann_file: str, img_dir: str, interval: int = 1
) -> List[Dict[str, Any]]:
    """Read a CSV of LIP's single-person poses and the sizes of its images.

    A row holds the file name of an image, then x, y and 1 or 0 for occluded
    or not per joint, in px; ``nan`` where a joint is not labelled. A row of
    the file name alone is an image without labels. Of the images only the
    headers are read.

    Args:
        ann_file (str): The CSV file.
        img_dir (str): The folder of the images.
        interval (int): Only rows whose number, from 1, is divisible by it
            are returned. Defaults to 1.

    Returns:
        list[dict]: Per row a COCO annotation, of the category 1 and with the
        whole image as its box, without a segmentation. Its ``id`` and
        ``image_id`` are the row's number, and ``image`` is COCO's entry of
        the image.

    Raises:
        ValueError: If a path is something else, or ``interval`` is not a
            positive whole number.
        InputError: If a file or the folder is missing, the CSV is empty, a
            row has other columns, a coordinate is not a number, a flag is
            neither 0 nor 1, or an image cannot be read.
    """
    for argument, path in (('ann_file', ann_file), ('img_dir', img_dir)):
        if not isinstance(path, (str, os.PathLike)):
            raise ValueError(f'{argument} must be a path, got {path!r}')
    positive_int('interval', interval)
    what = f"annotation file '{ann_file}'"
    check_file(ann_file, 'annotation file')
    try:
        with open(ann_file, newline='', encoding='utf-8-sig') as f:
            reader = csv.reader(f)
            rows = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as e:
        raise InputError(f'{what} is not a CSV text: {e}') from e
    if not rows:
        raise InputError(f'{what} has no rows')
    joints = _read_joints(rows, what)
    chosen = range(interval - 1, len(rows), interval)
    names = [rows[i][1][0] for i in chosen]
    return [
        _to_coco(i + 1, name, size, joints[i])
        for i, name, size in zip(
            chosen, names, read_image_sizes(names, img_dir)
        )
    ]


def _read_joints(rows: List[Tuple[int, List[str]]], what: str) -> np.ndarray:
    """Joints of all rows, (N, 16, 3) with COCO's flag behind x and y."""
    wrong = [r for r in rows if len(r[1]) not in (1, _COLUMNS)]
    if wrong:
        line, row = wrong[0]
        raise InputError(
            f'{what}, line {line}: {len(row)} columns, expected {_COLUMNS} '
            f'(a file name, then x, y, occluded for {len(LIP_KEYPOINTS)} '
            'joints) or the file name alone'
        )
    nameless = [line for line, row in rows if not row[0].strip()]
    if nameless:
        raise InputError(
            f"{what}, line {nameless[0]}, column 1: '', expected the file "
            'name of an image'
        )
    unlabelled = ['nan'] * (_COLUMNS - 1)
    cells = [row[1:] or unlabelled for _, row in rows]
    try:
        joints = np.array(cells, dtype=float).reshape(len(rows), -1, 3)
        good = _are_good(joints).all()
    except ValueError:
        good = False
    if not good:
        raise InputError(_wrong_value(rows, what))
    missing = np.isnan(joints[..., :2]).any(-1)
    joints[..., 2] = np.where(joints[..., 2] == 1, 1, 2)
    joints[missing] = 0
    return joints


def _are_good(joints: np.ndarray) -> np.ndarray:
    """Which values (..., 3) are numbers of px, and flags."""
    # Datasets have float32, in which larger numbers are infinite.
    good = abs(joints) <= np.finfo(np.float32).max
    good[..., 2] = np.isin(joints[..., 2], (0, 1))
    return good | np.isnan(joints)


def _wrong_value(rows: List[Tuple[int, List[str]]], what: str) -> str:
    """The message about the first value that is not good."""
    for line, row in rows:
        for i, value in enumerate(row[1:]):
            try:
                number = float(value)
            except ValueError:
                number = np.inf
            if not _are_good(np.full(3, number))[i % 3]:
                expected = '0, 1' if i % 3 == 2 else 'a number of px'
                return (
                    f"{what}, line {line}, column {i + 2}: '{value}', "
                    f"expected {expected} or 'nan'"
                )
    raise AssertionError('all values are good')


def _to_coco(
    number: int, name: str, size: Tuple[int, int], joints: np.ndarray
) -> Dict[str, Any]:
    width, height = size
    return dict(
        id=number,
        image_id=number,
        category_id=1,
        bbox=[0, 0, width, height],
        # MMPose's estimate of what a person fills of its box.
        area=0.53 * width * height,
        iscrowd=0,
        num_keypoints=int((joints[:, 2] > 0).sum()),
        keypoints=joints.ravel().tolist(),
        image=dict(id=number, file_name=name, width=width, height=height),
    )


@DATASETS.register_module()
class LIPDataset(BaseCocoStyleDataset):
    """Single persons of `Look into Person <http://sysu-hcp.net/lip/>`_.

    Reads LIP's CSV files (see :func:`read_lip` for their format). As in
    "Global Context for Convolutional Pose Machines" (Osokin, section
    3.2.2), the whole image is the person's box: use
    ``GetBBoxCenterScale(padding=1.0)``.

    A joint that is not labelled is at (-1, -1) with ``keypoints_visible`` 0;
    a labelled one, occluded or not, has 1. Images without any labelled joint
    are left out in training and kept with ``test_mode``.

    The keypoints are those of ``LIP_KEYPOINTS``, in this order.

    It takes the arguments of MMPose's ``BaseCocoStyleDataset``. A sample's
    id and image id are the number of its row in the CSV, from 1, as in the
    COCO file that ``tools/converters/lip2coco.py`` makes of it.

    Raises:
        ValueError: If ``sample_interval`` is not positive.
        InputError: As :func:`read_lip`, and if a ``bbox_file`` is given or
            no image is left for training.
    """

    METAINFO: dict = LIP_METAINFO

    def _load_annotations(self) -> Tuple[List[dict], List[dict]]:
        """Read the CSV: one instance and one image per row."""
        positive_int('sample_interval', self.sample_interval)
        img_dir = self.data_prefix['img']
        instances, images = [], []
        for ann in read_lip(self.ann_file, img_dir, self.sample_interval):
            image = ann.pop('image')
            image.update(
                img_id=image['id'],
                img_path=osp.join(img_dir, image['file_name']),
            )
            info = self.parse_data_info(
                dict(raw_ann_info=ann, raw_img_info=image)
            )
            # Made for COCO: a pixel short, and unlabelled joints at (0, 0).
            info['bbox'] = np.array([ann['bbox']], dtype=np.float32)
            info['keypoints'][info['keypoints_visible'] == 0] = -1
            images.append(image)
            instances.append(info)
        return instances, images

    def _load_detection_results(self) -> List[dict]:
        raise InputError(
            f"LIPDataset takes no bbox_file, got '{self.bbox_file}': the "
            'whole image is the box of its one person'
        )

    def _get_topdown_data_infos(self, instance_list: List[dict]) -> List[dict]:
        """Leave out images without a labelled joint, but not in a test."""
        if self.test_mode:
            return instance_list
        kept = super()._get_topdown_data_infos(instance_list)
        if not kept:
            raise InputError(
                f"annotation file '{self.ann_file}': none of "
                f'{len(instance_list)} images has a labelled joint'
            )
        if len(kept) < len(instance_list):
            print_log(
                f'{len(instance_list) - len(kept)} of {len(instance_list)} '
                f"images in '{self.ann_file}' have no labelled joint and are "
                'left out',
                logger='current',
            )
        return kept
