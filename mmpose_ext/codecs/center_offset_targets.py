"""What a centre-offset network learns: Gaussians, and offsets from centres.

The rules are described at :class:`~mmpose_ext.codecs.CenterOffset`.
"""

import math
from typing import NamedTuple, Optional, Tuple, Union

import numpy as np


class People(NamedTuple):
    """The people of an image that count, in px of the input."""

    keypoints: np.ndarray  # (N', K, 2), 0 where unlabelled
    labelled: np.ndarray  # (N', K), bool
    area: np.ndarray  # (N',)
    centers: np.ndarray  # (N', 2)
    has_center: np.ndarray  # (N',), bool


def select_people(
    keypoints: np.ndarray,
    visible: Optional[np.ndarray],
    area: Optional[np.ndarray],
    bbox: Optional[np.ndarray],
    iscrowd: Optional[np.ndarray],
    min_area: float,
) -> People:
    """Check the arguments of ``CenterOffset.encode``; pick who counts.

    All people do, except crowds without a labelled keypoint.
    """
    keypoints = np.asarray(keypoints, dtype=float)
    shape = keypoints.shape
    if len(shape) != 3 or shape[1] == 0 or shape[2] != 2:
        raise ValueError(
            'keypoints must be of shape (N, K, 2) with K of at least 1, '
            f'got {shape}'
        )
    n, k, _ = shape
    visible = _as_array('keypoints_visible', visible, (n, k))
    area = _as_array('area', area, (n,))
    bbox = _as_array('bbox', bbox, (n, 4), (n, 4, 2))
    iscrowd = _as_array('iscrowd', iscrowd, (n,))

    labelled = np.ones((n, k), bool) if visible is None else visible > 0
    _check_finite(keypoints, labelled)
    if area is None:
        area = _estimate_areas(keypoints, labelled)
    elif not np.isfinite(area).all():
        raise ValueError(f'area must be finite, got {area}')
    keypoints = np.where(labelled[..., None], keypoints, 0)
    centers, found = _find_centers(keypoints, labelled, bbox)
    people = People(
        keypoints, labelled, area, centers, found & (area >= min_area)
    )
    if iscrowd is None:
        return people
    kept = labelled.any(axis=1) | (iscrowd == 0)
    return People(*(array[kept] for array in people))


def _as_array(
    name: str, value, *shapes: Tuple[int, ...]
) -> Optional[np.ndarray]:
    """An argument of ``encode``, if it is given, of one of the shapes."""
    if value is None:
        return None
    value = np.asarray(value, dtype=float)
    if value.shape not in shapes:
        expected = ' or '.join(map(str, shapes))
        raise ValueError(
            f'{name} must be of shape {expected}, as keypoints have it, '
            f'got {value.shape}'
        )
    return value


def _check_finite(keypoints: np.ndarray, labelled: np.ndarray) -> None:
    wrong = np.argwhere(labelled & ~np.isfinite(keypoints).all(axis=2))
    if len(wrong):
        person, joint = wrong[0]
        raise ValueError(
            f'keypoint {joint} of person {person} is labelled, but is at '
            f'{keypoints[person, joint]}'
        )


def _estimate_areas(keypoints: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """From the boxes around the labelled keypoints, as MMPose does it."""
    own = labelled[..., None]
    low = np.where(own, keypoints, np.inf).min(axis=1)
    high = np.where(own, keypoints, -np.inf).max(axis=1)
    return 0.53 * np.maximum(high - low, 0).prod(axis=1)


def _find_centers(
    keypoints: np.ndarray, labelled: np.ndarray, bbox: Optional[np.ndarray]
) -> Tuple[np.ndarray, np.ndarray]:
    """Centres (N, 2), and whether there is one, (N,)."""
    number = labelled.sum(axis=1)[:, None]
    centers = keypoints.sum(axis=1) / np.maximum(number, 1)
    if bbox is None:
        return centers, labelled.any(axis=1)
    corners = bbox.reshape(len(bbox), 2, 2) if bbox.ndim == 2 else bbox
    centers = np.where(number > 0, centers, corners.mean(axis=1))
    return centers, np.ones(len(bbox), bool)


def is_inside(points: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Which of the points (..., 2) are in the area of a size [w, h]."""
    return ((points >= 0) & (points < size)).all(axis=-1)


def draw_gaussians(
    heatmaps: np.ndarray,
    weights: np.ndarray,
    channels: Union[int, np.ndarray],
    points: np.ndarray,
    sigma: float,
) -> None:
    """Add Gaussians at points (P, 2), cells, to maps (C, H, W).

    ``channels`` is the map of each point (P,), or of all. The weights
    (1, H, W) become 1 in the square of any Gaussian.
    """
    h, w = heatmaps.shape[1:]
    start = np.floor(points - 3 * sigma - 1)[:, None]
    end = np.ceil(points + 3 * sigma + 2)[:, None]
    side = math.ceil(6 * sigma + 3) + 1  # of the largest square
    cells = start + np.arange(side)[:, None]
    values = np.exp((cells - points[:, None]) ** 2 / (-2 * sigma**2))
    inside = (cells >= 0) & (cells < np.minimum(end, (w, h)))

    # From an axis (P, side) each to squares (P, side, side).
    inside = inside[:, :, None, 1] & inside[:, None, :, 0]
    values = (values[:, :, None, 1] * values[:, None, :, 0])[inside]
    cells = cells.astype(int)
    cells = cells[:, :, None, 1] * w + cells[:, None, :, 0]
    weights.reshape(-1)[cells[inside]] = 1
    cells += np.reshape(channels, (-1, 1, 1)) * (h * w)
    np.maximum.at(
        heatmaps.reshape(-1), cells[inside], values.astype(np.float32)
    )


def write_offsets(
    joints: np.ndarray,
    drawn: np.ndarray,
    centers: np.ndarray,
    area: np.ndarray,
    size: Tuple[int, int],
    radius: int,
) -> Tuple[np.ndarray, np.ndarray]:
    """Offsets and weights, (2K, H, W) each, of people with a centre.

    In cells: joints (P, K, 2), of which those ``drawn`` (P, K) are labelled
    and inside, and centres (P, 2). Areas (P,) are in px^2; ``size`` is (W, H).
    """
    (w, h), k = size, joints.shape[1]
    area = np.maximum(area, 1)
    persons, cells, slots, counts = _cells_around(centers, size, radius)

    # In a cell, people write one after the other, in their order: at the
    # same time all that come first in their cells, then all second ones.
    order = np.argsort(slots, kind='stable')
    turns = np.arange(len(order))
    turns -= np.repeat(np.cumsum(counts) - counts, counts)
    positions = np.stack([cells % w, cells // w], axis=1)
    values = np.zeros((len(cells), k, 2))
    weights = np.zeros((len(cells), k))
    last_area = np.zeros(len(cells))
    for turn in range(counts.max(initial=0)):
        pairs = order[turns == turn]
        slot, person = slots[pairs], persons[pairs]
        own, old = drawn[person], values[slot]
        free = own & (old[..., 0] == 0) & (old[..., 1] == 0)
        # Who has written a joint has the area of the cell from there on.
        write = np.logical_or.accumulate(free, axis=1)
        write |= (area[person] <= last_area[slot])[:, None]
        write &= own
        new = positions[slot][:, None] - joints[person]
        values[slot] = np.where(write[..., None], new, old)
        weight = area[person, None] ** -0.5
        weights[slot] = np.where(write, weight, weights[slot])
        wrote = write.any(axis=1)
        last_area[slot[wrote]] = area[person[wrote]]

    # One map after the other is faster than cell by cell.
    at = np.arange(2 * k)[:, None] * (h * w) + cells
    maps = np.zeros((2, 2 * k * h * w), np.float32)
    maps[0, at] = values.reshape(-1, 2 * k).T
    maps[1, at] = weights.repeat(2, axis=1).T
    return tuple(maps.reshape(2, 2 * k, h, w))


def _cells_around(
    centers: np.ndarray, size: Tuple[int, int], radius: int
) -> Tuple[np.ndarray, ...]:
    """The cells of the squares around centres (P, 2) that are on the map.

    For each pair of a person and a cell of its square: the person. The sorted
    list of all different cells. For each pair, its cell's place in this list,
    and for each cell in it, the number of persons.
    """
    w, h = size
    window = np.arange(-radius, radius)
    x, y = (centers.T.astype(int)[..., None] + window)[..., None, :]
    y = y.swapaxes(1, 2)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    cells, slots, counts = np.unique(
        (y * w + x)[inside], return_inverse=True, return_counts=True
    )
    return np.nonzero(inside)[0], cells, slots, counts
