"""COCO and LIP annotations of a scene."""

from typing import Any, Dict, List, Optional

import cv2
import numpy as np

from ..datasets.lip_dataset import LIP_KEYPOINTS
from .scene import KEYPOINTS, Figure, Scene
from .skeleton import COCO_KEYPOINTS, COCO_SKELETON

CATEGORY = {
    'supercategory': 'person',
    'id': 1,
    'name': 'person',
    'keypoints': list(COCO_KEYPOINTS),
    'skeleton': [list(pair) for pair in COCO_SKELETON],
}
# Room for this many annotations per image, so that their ids do not depend
# on the other images.
IDS_PER_IMAGE = 16
# Islands of a mask below this many pixels are dropped from it.
_MIN_ISLAND = 6
_LIP_ORDER = [KEYPOINTS.index(name) for name in LIP_KEYPOINTS]

Annotation = Dict[str, Any]


def clean_mask(mask: np.ndarray) -> np.ndarray:
    """Drop the islands of a boolean mask that are only a few pixels."""
    x, y, w, h = _box(mask)
    if not w:
        return mask
    window = slice(y, y + h), slice(x, x + w)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask[window].astype(np.uint8), connectivity=8
    )
    keep = stats[:, cv2.CC_STAT_AREA] >= _MIN_ISLAND
    keep[0] = False
    clean = np.zeros_like(mask)
    clean[window] = keep[labels]
    return clean


def mask_to_polygons(mask: np.ndarray) -> List[List[float]]:
    """Outline a boolean mask of shape (H, W).

    The contours run a quarter of a pixel inside of the mask's pixels, in
    COCO's coordinates, where pixel 0 reaches from 0 to 1, so that COCO's own
    rasteriser returns exactly this mask. A hole is joined to the outline
    around it by a cut of no width, because COCO's polygons have no holes.

    Returns:
        list: One flat list ``[x0, y0, x1, y1, ...]`` per part.
    """
    x, y, w, h = _box(mask)
    if not w:
        return []
    double = np.repeat(
        np.repeat(mask[y : y + h, x : x + w].astype(np.uint8), 2, 0), 2, 1
    )
    contours, tree = cv2.findContours(
        double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    contours = [contour[:, 0] for contour in contours]
    polygons = []
    for index, (_, _, child, parent) in enumerate(tree[0]):
        if parent >= 0:
            continue
        outline = contours[index]
        while child >= 0:
            outline = _join(outline, contours[child])
            child = tree[0][child][0]
        polygons.append(((outline + 0.5) / 2 + (x, y)).reshape(-1).tolist())
    return polygons


def _join(outline: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Insert a hole into an outline at their closest corners."""
    distance = np.abs(outline[:, None] - hole).sum(-1)
    i, j = np.unravel_index(distance.argmin(), distance.shape)
    return np.concatenate(
        [outline[: i + 1], hole[j:], hole[: j + 1], outline[i:]]
    )


def mask_to_rle(mask: np.ndarray) -> Dict[str, List[int]]:
    """Uncompressed COCO run lengths of a boolean mask of shape (H, W)."""
    flat = np.concatenate([[False], mask.reshape(-1, order='F')])
    changes = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {'counts': counts.tolist(), 'size': list(mask.shape)}


def _box(mask: np.ndarray) -> List[int]:
    return list(cv2.boundingRect(mask.view(np.uint8)))


def _annotate_person(figure: Figure, mask: np.ndarray) -> Annotation:
    count = len(COCO_KEYPOINTS)
    flags = figure.visible[:count]
    keypoints = np.zeros((count, 3))
    keypoints[:, :2] = np.round(figure.keypoints[:count], 2)
    keypoints[:, 2] = flags
    keypoints[flags == 0] = 0
    return {
        'keypoints': keypoints.reshape(-1).tolist(),
        'num_keypoints': int((flags > 0).sum()),
        'bbox': _box(mask),
        'area': int(mask.sum()),
        'segmentation': mask_to_polygons(mask),
        'iscrowd': 0,
    }


def _annotate_crowd(mask: np.ndarray) -> Annotation:
    return {
        'keypoints': [0] * (3 * len(COCO_KEYPOINTS)),
        'num_keypoints': 0,
        'bbox': _box(mask),
        'area': int(mask.sum()),
        'segmentation': mask_to_rle(mask),
        'iscrowd': 1,
    }


def annotate(scene: Scene, image_id: int) -> List[Annotation]:
    """COCO annotations of all persons who can be seen, if only in part.

    Args:
        scene: The picture.
        image_id: Its id; that of the n-th annotation, from 0, is
            ``16 * image_id + n``.

    Returns:
        list: One annotation per person, and one for the crowd if there is
        one, with ``iscrowd`` 1 and without keypoints.
    """
    found = []
    crowd = np.zeros(scene.owner.shape, bool)
    for figure in scene.figures:
        mask = scene.owner == figure.layer
        if figure.crowd:
            crowd |= mask
            continue
        mask = clean_mask(mask)
        if mask.any():
            found.append(_annotate_person(figure, mask))
    crowd = clean_mask(crowd)
    if crowd.any():
        found.append(_annotate_crowd(crowd))
    for index, annotation in enumerate(found):
        annotation.update(
            id=IDS_PER_IMAGE * image_id + index,
            image_id=image_id,
            category_id=1,
        )
    return found


def lip_row(
    figure: Figure, crop: np.ndarray, file_name: str
) -> Optional[List[str]]:
    """One row of a LIP CSV.

    Args:
        figure: The person.
        crop: The cut (x0, y0, x1, y1) in px of the picture.
        file_name: Of the crop.

    Returns:
        list: The file name, then x, y and the occluded flag per joint, all
        of them ``'nan'`` where the joint is not in the crop.
    """
    points = np.round(figure.keypoints[_LIP_ORDER]) - crop[:2]
    inside = (points >= 0) & (points < crop[2:] - crop[:2])
    there = inside.all(1) & (figure.visible[_LIP_ORDER] > 0)
    occluded = figure.visible[_LIP_ORDER] == 1
    row = [file_name]
    for (x, y), shown, hidden in zip(
        points.astype(int).tolist(), there, occluded.astype(int)
    ):
        row += [str(x), str(y), str(hidden)] if shown else ['nan'] * 3
    return row
