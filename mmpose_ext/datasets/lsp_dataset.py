"""Leeds Sports Pose, and its extended training set."""

import logging
import os.path as osp
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from mmengine.logging import print_log
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.registry import DATASETS

from ..errors import InputError
from .image_sizes import read_image_sizes
from .matlab_file import read_matlab_array
from .metainfo import make_category, make_metainfo

LSP_KEYPOINTS = (
    'right_ankle',
    'right_knee',
    'right_hip',
    'left_hip',
    'left_knee',
    'left_ankle',
    'right_wrist',
    'right_elbow',
    'right_shoulder',
    'left_shoulder',
    'left_elbow',
    'left_wrist',
    'neck',
    'head_top',
)
_LINKS = (
    ('right_ankle', 'right_knee'),
    ('right_knee', 'right_hip'),
    ('right_hip', 'left_hip'),
    ('left_hip', 'left_knee'),
    ('left_knee', 'left_ankle'),
    ('right_wrist', 'right_elbow'),
    ('right_elbow', 'right_shoulder'),
    ('right_shoulder', 'neck'),
    ('neck', 'left_shoulder'),
    ('left_shoulder', 'left_elbow'),
    ('left_elbow', 'left_wrist'),
    ('right_hip', 'right_shoulder'),
    ('left_hip', 'left_shoulder'),
    ('neck', 'head_top'),
)
LSP_CATEGORY = make_category(LSP_KEYPOINTS, _LINKS)


def read_lsp(
    ann_file: str,
    img_dir: str,
    images: Optional[Tuple[int, int]] = None,
    skip_missing: bool = False,
) -> Dict[str, Any]:
    """Read the ``joints.mat`` of LSP or LSP extended as COCO's content.

    The shape of its array tells which of the two a file is, and what the
    third value of a joint says: in LSP extended, (14, 3, N), 1 is a labelled
    joint, and one with 0 has no position; in LSP, (3, 14, N), all joints are
    labelled, and 1 is an occluded one. How that is known is written in
    ``docs/photographs.md``.

    Args:
        ann_file (str): The file.
        img_dir (str): The folder of the images, from which their sizes are
            read: ``im00001.jpg`` and so on in LSP extended, ``im0001.jpg``
            in LSP.
        images (tuple[int, int], optional): Numbers of the first and the last
            image, from 1. Defaults to ``None``, all of them.
        skip_missing (bool): Whether images that are not in the folder are
            left out. Defaults to ``False``.

    Returns:
        dict: ``images``, ``annotations`` and ``categories``. Ids are the
        numbers of the images. A labelled joint outside of its image counts
        as not labelled; a warning says how many do. A box holds the labelled
        joints and a tenth of its longer side around them, within the image;
        the files have no boxes. An image without a labelled joint has no
        annotation.

    Raises:
        InputError: If a file or the folder is missing, the file is none of
            the two, a value is no number of px or no flag, ``images`` are not
            all in the file, or an image cannot be read.
    """
    what = f"annotation file '{ann_file}'"
    joints, pattern = _read_joints(ann_file, what)
    first, last = images or (1, len(joints))
    if not 1 <= first <= last <= len(joints):
        raise InputError(
            f'images {first} to {last} are not in {what}, which has 1 to '
            f'{len(joints)}'
        )
    names = {i: pattern % i for i in range(first, last + 1)}
    if skip_missing:
        names = {
            i: name
            for i, name in names.items()
            if osp.exists(osp.join(img_dir, name))
        }
        if not names:
            raise InputError(
                f"image folder '{img_dir}' has none of the images "
                f"'{pattern % first}' to '{pattern % last}'"
            )
    sizes = read_image_sizes(list(names.values()), img_dir)
    annotations = [
        annotation
        for i, size in zip(names, sizes)
        for annotation in _annotate(i, size, joints[i - 1])
    ]
    labelled = sum(int((joints[i - 1, :, 2] > 0).sum()) for i in names)
    outside = labelled - sum(a['num_keypoints'] for a in annotations)
    if outside:
        print_log(
            f'{outside} of {labelled} labelled joints in {what} are outside '
            'of their images and count as not labelled',
            logger='current',
            level=logging.WARNING,
        )
    return dict(
        images=[
            dict(id=i, file_name=name, width=width, height=height)
            for (i, name), (width, height) in zip(names.items(), sizes)
        ],
        annotations=annotations,
        categories=[LSP_CATEGORY],
    )


def _read_joints(ann_file: str, what: str) -> Tuple[np.ndarray, str]:
    """Joints (N, 14, 3) with COCO's flag, and how the images are named."""
    joints = read_matlab_array(ann_file, 'joints', 'annotation file')
    shape = joints.shape
    if len(shape) != 3 or sorted(shape[:2]) != [3, 14] or not shape[2]:
        raise InputError(
            f"{what}: expected 'joints' of shape (14, 3, N), as LSP extended "
            f'has it, or (3, 14, N), as LSP has it; got {shape}'
        )
    is_extended = shape[0] == 14
    joints = joints.transpose(2, 0, 1) if is_extended else joints.T
    joints = joints.astype(float)
    flags = joints[..., 2]
    good = np.isfinite(joints)
    good[..., 2] = np.isin(flags, (0, 1))
    if not good.all():
        i, joint, axis = np.argwhere(~good)[0]
        expected = '0 or 1' if axis == 2 else 'a number of px'
        raise InputError(
            f'{what}, image {i + 1}, {LSP_KEYPOINTS[joint]}: '
            f'{("x", "y", "flag")[axis]} is {joints[i, joint, axis]:.16g}, '
            f'expected {expected}'
        )
    joints[..., 2] = 2 * flags if is_extended else 2 - flags
    return joints, 'im%05d.jpg' if is_extended else 'im%04d.jpg'


def _annotate(
    number: int, size: Tuple[int, int], joints: np.ndarray
) -> List[Dict[str, Any]]:
    """COCO's annotation of an image; none without a labelled joint."""
    xy = joints[:, :2]
    labelled = (joints[:, 2] > 0) & ((xy >= 0) & (xy < size)).all(axis=1)
    if not labelled.any():
        return []
    left_top, right_bottom = xy[labelled].min(0), xy[labelled].max(0)
    margin = 0.1 * (right_bottom - left_top).max()
    left_top = np.maximum(left_top - margin, 0)
    width_height = np.minimum(right_bottom + margin, size) - left_top
    return [
        dict(
            id=number,
            image_id=number,
            category_id=1,
            bbox=[*left_top.tolist(), *width_height.tolist()],
            # MMPose's estimate of what a person fills of its box.
            area=0.53 * float(width_height.prod()),
            iscrowd=0,
            num_keypoints=int(labelled.sum()),
            keypoints=np.where(labelled[:, None], joints, 0).ravel().tolist(),
        )
    ]


@DATASETS.register_module()
class LSPDataset(BaseCocoStyleDataset):
    """Leeds Sports Pose (LSP) and LSP extended, of one person per image.

    `LSP <http://sam.johnson.io/research/lsp.html>`_ is of Johnson and
    Everingham, "Clustered Pose and Nonlinear Appearance Models for Human Pose
    Estimation" (BMVC 2010), `LSP extended
    <http://sam.johnson.io/research/lspet.html>`_ of their "Learning Effective
    Human Pose Estimation from Inaccurate Annotation" (CVPR 2011).

    Reads the COCO file that ``tools/converters/lsp2coco.py`` makes of their
    ``joints.mat``. The keypoints are those of ``LSP_KEYPOINTS``, in LSP's
    order; left and right are the person's. The data sets have no sigmas:
    they are taken by name, those of the limbs from COCO, those of neck and
    head top from MMPose's description of MPII.

    It takes the arguments of MMPose's ``BaseCocoStyleDataset``.
    """

    METAINFO: dict = make_metainfo(
        'lsp',
        LSP_KEYPOINTS,
        _LINKS,
        author='Sam Johnson, Mark Everingham',
        title='Learning Effective Human Pose Estimation from Inaccurate '
        'Annotation',
        container='IEEE Conference on Computer Vision and Pattern '
        'Recognition (CVPR)',
        year='2011',
        homepage='http://sam.johnson.io/research/lspet.html',
    )
