"""Files of person boxes, in the form that MMPose's ``bbox_file`` takes."""

from pathlib import Path
from typing import Dict, List, Tuple, Union

import numpy as np

from ..checks import check_detections, read_annotations, read_json
from ..errors import InputError

_PERSON = 1  # the only category that MMPose reads from a box file


def read_images(
    ann_file: Union[str, Path], img_dir: Union[str, Path]
) -> List[Tuple[int, Path]]:
    """List the images of a COCO annotation file.

    Args:
        ann_file (str | Path): JSON file with a list ``images``.
        img_dir (str | Path): The folder that its file names start from.

    Returns:
        List[Tuple[int, Path]]: The id and the path of each image, in the
        order of the file.

    Raises:
        InputError: If the file is missing or invalid, or an image does not
            exist.
    """
    names = _read_names(ann_file, img_dir)
    paths = [(id_, Path(img_dir, name)) for id_, name in names.items()]
    for id_, path in paths:
        if not path.is_file():
            raise InputError(
                f"there is no image file '{path}' (id {id_} of '{ann_file}')"
            )
    return paths


def read_boxes(
    path: Union[str, Path], ann_file: Union[str, Path]
) -> Dict[str, np.ndarray]:
    """Read a box file.

    Args:
        path (str | Path): A list of ``image_id``, ``category_id``, ``bbox``
            (x, y, w, h) and ``score``.
        ann_file (str | Path): The COCO annotation file with these ids.

    Returns:
        Dict[str, np.ndarray]: For each file name of the annotation file the
        persons, an array of shape (N, 5) with x1, y1, x2, y2 and the score,
        the best first.

    Raises:
        InputError: If one of the files is missing or invalid, or the boxes
            belong to other images.
    """
    names = _read_names(ann_file)
    content = read_json(path, 'detection file')
    check_detections(content, path, names)
    rows: Dict[int, list] = {id_: [] for id_ in names}
    for box in content:
        if box['category_id'] == _PERSON:
            rows[box['image_id']].append([*box['bbox'][:4], box['score']])
    boxes = {}
    for id_, name in names.items():
        found = np.array(rows[id_], dtype=np.float32).reshape(-1, 5)
        found[:, 2:4] += found[:, :2]
        boxes[name] = found[np.argsort(-found[:, 4], kind='stable')]
    return boxes


def as_entries(image_id: int, found: np.ndarray) -> List[dict]:
    """Turn the persons of an image, of shape (N, 5), into entries.

    Returns:
        List[dict]: The entries, boxes rounded to 1e-3 pixels, without those
        that then have no area.
    """
    sizes = found[:, 2:4] - found[:, :2]
    boxes = np.concatenate([found[:, :2], sizes], axis=1).astype(float)
    return [
        dict(
            image_id=image_id,
            category_id=_PERSON,
            bbox=bbox,
            score=round(float(score), 6),
        )
        for bbox, score in zip(boxes.round(3).tolist(), found[:, 4])
        if min(bbox[2:]) > 0
    ]


def _read_names(
    ann_file: Union[str, Path], img_dir: Union[str, Path, None] = None
) -> Dict[int, str]:
    """The file name of each image id."""
    folder = None if img_dir is None else str(img_dir)
    content = read_annotations(str(ann_file), img_dir=folder)
    return {image['id']: image['file_name'] for image in content['images']}
