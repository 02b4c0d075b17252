"""An overview picture of a folder of toy persons."""

import json
from pathlib import Path
from typing import Any, Dict, List

import cv2
import numpy as np

from .skeleton import COCO_KEYPOINTS, COCO_SKELETON

# BGR of the person's own left, right, and what joins them.
_LEFT, _RIGHT, _MIDDLE = (80, 220, 60), (40, 140, 255), (255, 170, 60)
_BOX, _CROWD, _OCCLUDED = (60, 230, 250), (230, 60, 200), (40, 40, 230)


def _colour(name: str, other: str) -> tuple:
    sides = {name.split('_')[0], other.split('_')[0]} & {'left', 'right'}
    if len(sides) != 1:
        return _MIDDLE
    return _LEFT if 'left' in sides else _RIGHT


def _scaled(point: np.ndarray, zoom: int) -> tuple:
    # Sixteenths of a pixel, as cv2 takes them with a shift of 4.
    return tuple(
        np.round(((point + 0.5) * zoom - 0.5) * 16).astype(int).tolist()
    )


def draw_annotations(
    image: np.ndarray, annotations: List[Dict[str, Any]], zoom: int = 2
) -> np.ndarray:
    """Draw boxes and skeletons over an enlarged image.

    Args:
        image: (H, W, 3) BGR.
        annotations: In COCO's format.
        zoom: Enlargement.

    Returns:
        np.ndarray: (zoom * H, zoom * W, 3). The person's left is green, its
        right orange, an occluded keypoint has a red dot, a crowd a purple
        box.
    """
    image = cv2.resize(
        image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC
    )
    for annotation in annotations:
        x, y, w, h = (round(v * zoom) for v in annotation['bbox'])
        colour = _CROWD if annotation['iscrowd'] else _BOX
        cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), colour, 1)
        points = np.array(annotation['keypoints'], float).reshape(-1, 3)
        for a, b in COCO_SKELETON:
            if points[a - 1, 2] and points[b - 1, 2]:
                ends = [_scaled(points[i - 1, :2], zoom) for i in (a, b)]
                colour = _colour(*(COCO_KEYPOINTS[i - 1] for i in (a, b)))
                cv2.line(image, *ends, colour, 1, cv2.LINE_AA, 4)
        for point in points[points[:, 2] > 0]:
            center = _scaled(point[:2], zoom)
            colour = _OCCLUDED if point[2] == 1 else (255, 255, 255)
            cv2.circle(image, center, 24, colour, cv2.FILLED, cv2.LINE_AA, 4)
    return image


def draw_contact_sheet(
    folder: Path, columns: int = 6, rows: int = 4, zoom: int = 2
) -> np.ndarray:
    """Draw the first images of a folder, every other one with annotations.

    Args:
        folder: Toy persons; the training split, else the validation split.
        columns: Images per row.
        rows: Rows, at most.
        zoom: Enlargement.

    Returns:
        np.ndarray: BGR picture.
    """
    for split in ('train', 'val'):
        path = folder / 'annotations' / f'person_keypoints_{split}.json'
        coco = json.loads(path.read_text())
        if coco['images']:
            break
    tiles = []
    for index, entry in enumerate(coco['images'][: columns * rows]):
        image = cv2.imread(str(folder / split / entry['file_name']))
        annotations = coco['annotations'] if index % 2 else []
        shown = [a for a in annotations if a['image_id'] == entry['id']]
        tiles.append(draw_annotations(image, shown, zoom))
    columns = min(columns, len(tiles))
    while len(tiles) % columns:
        tiles.append(np.zeros_like(tiles[0]))
    starts = range(0, len(tiles), columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in starts])
