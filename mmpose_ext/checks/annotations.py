"""Check a COCO-style annotation file, and the images that it speaks of."""

import logging
import os.path as osp
from typing import Mapping, Optional, Sequence

import numpy as np
from mmengine.logging import print_log

from ..errors import InputError
from .coco import is_empty, show, some

_IMAGES_TRIED = 10


def check_keypoints(
    content: dict, path: str, num_keypoints: Optional[int], name: str
) -> None:
    """Check the persons of a COCO file that are trained or evaluated on.

    Zero-area boxes are no error, because MMPose leaves them out, but they
    are counted in a warning.

    Args:
        content (dict): The file, as :func:`read_annotations` returns it.
        path (str): Its name, for messages.
        num_keypoints (int, optional): How many keypoints each person has
            according to the dataset, or None if that is not known.
        name (str): What has this metainfo, for messages.

    Raises:
        InputError: There are no annotations, none has keypoints, their
            number differs from the dataset's, or no person at all can be
            used.
    """
    annotations = content['annotations']
    if not annotations:
        raise InputError(f"annotation file '{path}' has no annotations")
    persons = [a for a in annotations if a.get('keypoints')]
    if not persons:
        raise InputError(
            f"annotation file '{path}': none of its {len(annotations)} "
            'annotations has keypoints; is it one of another task?'
        )
    if num_keypoints is not None:
        _check_number(persons, path, num_keypoints, name)

    # MMPose clips boxes to the last pixel.
    flat = ~_are_inside(persons, content, border=1)
    labelled = np.array([_is_labelled(a) for a in persons])
    if not (labelled & ~flat).any():
        raise InputError(
            f"annotation file '{path}': none of its {len(persons)} persons "
            'has a labelled keypoint in a box of an area above zero'
        )
    if (labelled & flat).any():
        first = persons[int((labelled & flat).argmax())]
        print_log(
            f'{(labelled & flat).sum()} of {labelled.sum()} persons in '
            f"'{path}' have a box without area inside the image and are left "
            f'out (first: annotation {first.get("id")}, {first["bbox"]})',
            logger='current',
            level=logging.WARNING,
        )


def check_objects(
    content: dict,
    path: str,
    metainfo: Mapping,
    name: str,
    training: bool = True,
    with_masks: bool = False,
) -> None:
    """Check the objects of a COCO file, for a dataset of MMDetection.

    Images without an object, and objects without an area, are no error.

    Args:
        content (dict): The file, as :func:`read_annotations` returns it.
        path (str): Its name, for messages.
        metainfo (Mapping): The dataset's, of which ``classes`` and, for
            persons, ``num_keypoints`` are read.
        name (str): What has this metainfo, for messages.
        training (bool): Whether there must be an object. Defaults to
            ``True``.
        with_masks (bool): Whether each one must have a segmentation.
            Defaults to ``False``.

    Raises:
        InputError: No category is one of the classes, an object lacks a
            segmentation, the number of keypoints differs from the dataset's,
            or no object at all can be trained on.
    """
    classes = metainfo.get('classes') or ()
    categories = {c['name']: c['id'] for c in content['categories']}
    wanted = [id_ for c, id_ in categories.items() if c in classes]
    if not wanted:
        raise InputError(
            f"annotation file '{path}' has the categories "
            f'{some(categories)}, but {name} has the classes {some(classes)}'
        )
    objects = [a for a in content['annotations'] if not a.get('ignore')]
    used = [  # as MMDetection takes them
        a
        for a, inside in zip(objects, _are_inside(objects, content))
        if inside
        and min(a['bbox'][2:]) >= 1
        and a['area'] > 0
        and a['category_id'] in wanted
    ]
    if training and all(a.get('iscrowd') for a in used):
        raise InputError(
            f"annotation file '{path}': none of its {len(objects)} "
            f'annotations is an object of the classes {some(classes)} with '
            'an area inside its image'
        )
    for a in used:
        if with_masks and is_empty(a['segmentation']):
            raise InputError(
                f"annotation file '{path}': annotation {a['id']} has no "
                'segmentation, but the pipeline loads masks'
            )
    persons = [a for a in used if a.get('keypoints')]
    if metainfo.get('num_keypoints') and persons:
        _check_number(persons, path, metainfo['num_keypoints'], name)


def check_images(content: dict, folder: str, where: str) -> None:
    """Check that the folder of images exists and holds what a file lists.

    Only the first few images are looked for: that finds a wrong folder
    without a visit to every file of a large dataset.

    Args:
        content (dict): The file, as :func:`read_annotations` returns it.
        folder (str): Where its file names start, '' for the current folder.
        where (str): The config's key of the folder, for the message.

    Raises:
        InputError: The folder is missing, or all images that were tried are.
    """
    if folder and not osp.isdir(folder):
        raise InputError(f"image folder '{folder}' ({where}) does not exist")
    names = [i['file_name'] for i in content['images'][:_IMAGES_TRIED]]
    if not any(osp.exists(osp.join(folder, name)) for name in names):
        raise InputError(
            f"image folder '{folder}' ({where}) has none of the first "
            f'{len(names)} images of the annotation file, such as '
            f'{show(names[0])}'
        )


def _check_number(
    persons: Sequence[dict], path: str, num_keypoints: int, name: str
) -> None:
    lengths = np.array([len(a['keypoints']) for a in persons])
    wrong = lengths != 3 * num_keypoints
    if wrong.any():
        i = int(wrong.argmax())
        raise InputError(
            f"annotation file '{path}': annotation {persons[i].get('id')} has "
            f'{lengths[i] / 3:g} keypoints, but {name} has {num_keypoints} '
            f'({wrong.sum()} of {len(persons)} annotations differ)'
        )


def _is_labelled(annotation: dict) -> bool:
    """Whether MMPose takes a person, if its box is good."""
    return (
        not annotation.get('iscrowd')
        and annotation.get('num_keypoints') != 0
        and any(annotation['keypoints'])
    )


def _are_inside(
    objects: Sequence[dict], content: dict, border: int = 0
) -> np.ndarray:
    """Which boxes have an area inside their image, (N,).

    ``border`` px at its right and lower edges are no part of it.
    """
    sizes = {i['id']: (i['width'], i['height']) for i in content['images']}
    size = np.array([sizes.get(a['image_id'], (0, 0)) for a in objects])
    limit = size.reshape(-1, 2) - border
    boxes = np.array([a['bbox'] for a in objects], float).reshape(-1, 4)
    start = np.clip(boxes[:, :2], 0, limit)
    end = np.clip(boxes[:, :2] + boxes[:, 2:], 0, limit)
    return (end > start).all(axis=1)
