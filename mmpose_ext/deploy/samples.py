"""Images on which an exported model is compared or calibrated."""

import random
from collections import defaultdict
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from ..checks import read_annotations
from ..errors import InputError
from ..inference.files import read_image
from ..synthetic.scene import compose

# An image, BGR, and the boxes of its persons, (N, 5): x1, y1, x2, y2, score;
# None for the whole image, or where the model finds them itself.
Sample = Tuple[np.ndarray, Optional[np.ndarray]]
Boxes = Dict[str, np.ndarray]


def read_annotated_boxes(ann_file: str) -> Boxes:
    """The annotated persons of images.

    Args:
        ann_file (str): A COCO annotation file.

    Returns:
        dict[str, np.ndarray]: By file name, without folders, the boxes (N, 5)
        of all but crowds; images without any are left out.

    Raises:
        InputError: The file is missing or of another form.
    """
    content = read_annotations(ann_file)
    names = [Path(image['file_name']).name for image in content['images']]
    if len(set(names)) < len(names):
        raise InputError(
            f"annotation file '{ann_file}' has images of the same name in "
            'different folders, whose persons cannot be distinguished'
        )
    rows = defaultdict(list)
    for entry in content['annotations']:
        x, y, w, h = entry['bbox']
        if not entry['iscrowd'] and min(w, h) > 0:
            rows[entry['image_id']].append((x, y, x + w, y + h, 1))
    return {
        Path(image['file_name']).name: np.array(rows[image['id']], np.float32)
        for image in content['images']
        if image['id'] in rows
    }


def read_samples(
    paths: Sequence[Path], boxes: Optional[Boxes] = None
) -> Iterator[Sample]:
    """Read images lazily, in a fixed random order.

    Args:
        paths (Sequence[Path]): The images.
        boxes (dict[str, np.ndarray], optional): Persons by file name; images
            that are not in it are left out. Defaults to ``None``, no boxes.

    Raises:
        InputError: None of the images has a box, or one cannot be read.
    """
    paths = list(paths)
    if boxes is not None:
        known = [path for path in paths if path.name in boxes]
        if not known:
            raise InputError(
                f"the annotation file has no person of '{paths[0]}', nor of "
                'any other of the images'
            )
        paths = known
    random.Random(0).shuffle(paths)
    for path in paths:
        found = None if boxes is None else boxes[path.name]
        yield read_image(path), found


def draw_samples(number: int, with_boxes: bool) -> List[Sample]:
    """Draw persons, where no images are given.

    Args:
        number (int): How many images.
        with_boxes (bool): Whether the model needs the persons' boxes.
    """
    samples: List[Sample] = []
    for seed in range(number):
        scene = compose(np.random.default_rng(seed), 320, 240)
        points = [f.keypoints for f in scene.figures if not f.crowd]
        boxes = [[*p.min(axis=0), *p.max(axis=0), 1] for p in points]
        found = np.array(boxes, np.float32) if with_boxes and boxes else None
        samples.append((scene.image, found))
    return samples
