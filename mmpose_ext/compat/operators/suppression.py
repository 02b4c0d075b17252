"""Non-maximum suppression.

All of it rounds as mmcv's functions do and takes equal scores in their order.
"""

from typing import List

import numpy as np
import torch
from torch import Tensor

from ..torchvision_ops import has_torchvision_op

# Overlaps of so many boxes with all boxes of lower scores are held at once.
_BLOCK = 128


def nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int
) -> Tensor:
    """The boxes that do not overlap a better one too much.

    Args:
        boxes (Tensor): (N, 4), corners x1, y1, x2, y2 in pixels.
        scores (Tensor): (N,).
        iou_threshold (float): Larger overlaps are too much.
        offset (int): Sides are ``x2 - x1 + offset`` long.

    Returns:
        Tensor: (K,) indices, best first.
    """
    # Not stable, as mmcv's is not: equal scores come in the same order.
    scores, order = scores.sort(dim=0, descending=True)
    boxes = boxes[order]
    # mmcv's functions take it in single precision.
    threshold = float(np.float32(iou_threshold))
    if offset == 0 and _prefers_torchvision(boxes):
        kept = torch.ops.torchvision.nms(boxes, scores.to(boxes), threshold)
    else:
        kept = _keep_sorted(_with_areas(boxes, offset), threshold, offset)
    return order[kept]


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Lower the scores of boxes that overlap better ones.

    Args:
        boxes (Tensor): (N, 4), corners x1, y1, x2, y2 in pixels, on a CPU.
        scores (Tensor): (N,).
        dets (Tensor): (N, 5), where boxes and scores are written.
        iou_threshold (float): Smaller overlaps lower no score, but for the
            Gaussian method.
        sigma (float): Square of the overlap for which the Gaussian method
            leaves 1/e of the score.
        min_score (float): Boxes of lower scores are dropped.
        method (int): 0 lowers scores to 0, 1 linearly, 2 by a Gaussian.
        offset (int): Sides are ``x2 - x1 + offset`` long.

    Returns:
        Tensor: (K,) indices, in the order of ``dets[:K]``.
    """
    # Columns are boxes; rows are corners, area, score.
    table = torch.cat([_with_areas(boxes, offset), scores[None]]).numpy()
    dtype = table.dtype.type
    indices = np.arange(len(boxes))
    size, i = len(boxes), 0
    while i < size:
        best = i + table[5, i:size].argmax()
        table[:, [i, best]] = table[:, [best, i]]
        indices[[i, best]] = indices[[best, i]]
        box, i = table[:, i : i + 1], i + 1
        overlaps = _overlaps(
            torch.from_numpy(box), torch.from_numpy(table[:, i:size]), offset
        )[0].numpy()
        if method == 2:
            # mmcv's scores turn NaN where two boxes have no area.
            overlaps = np.nan_to_num(overlaps)
            weights = np.exp(-(overlaps * overlaps) / dtype(sigma))
        else:
            weights = np.where(
                overlaps >= dtype(iou_threshold), (1 - overlaps) * method, 1
            )
        table[5, i:size] *= weights
        # The last ones take the places of those that are dropped.
        kept = table[5, i:size] >= dtype(min_score)
        size = i + np.count_nonzero(kept)
        holes = i + np.flatnonzero(~kept[: size - i])
        last = size + np.flatnonzero(kept[size - i :])[::-1]
        table[:, holes] = table[:, last]
        indices[holes] = indices[last]
    dets[:size] = torch.from_numpy(table[[0, 1, 2, 3, 5], :size].T)
    return torch.from_numpy(indices[:size])


def nms_match(dets: Tensor, iou_threshold: float) -> List[List[int]]:
    """Groups of boxes that overlap.

    Args:
        dets (Tensor): (N, 5), corners x1, y1, x2, y2 in pixels and score.
        iou_threshold (float): Smaller overlaps do not count.

    Returns:
        list[list[int]]: For each box that is kept, best first, its index and
        those of the boxes it suppresses.
    """
    table = _with_areas(dets[:, :4], 0)
    rest = dets[:, 4].sort(dim=0, descending=True)[1]
    groups = []
    while len(rest):
        best, rest = rest[:1], rest[1:]
        suppressed = (
            _overlaps(table[:, best], table[:, rest], 0)[0] >= iou_threshold
        )
        groups.append([*best.tolist(), *rest[suppressed].tolist()])
        rest = rest[~suppressed]
    return groups


def _prefers_torchvision(boxes: Tensor) -> bool:
    # On a CPU its functions, which take pair after pair, are slower.
    return boxes.device.type != 'cpu' and has_torchvision_op(
        'nms', boxes.device
    )


def _with_areas(boxes: Tensor, offset: int) -> Tensor:
    """(5, N): corners and area."""
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1 + offset) * (y2 - y1 + offset)
    return torch.stack([x1, y1, x2, y2, areas])


def _overlaps(boxes: Tensor, others: Tensor, offset: int) -> Tensor:
    """(N, M) intersections over unions; NaN where both have no area."""
    boxes = boxes[:, :, None]
    width = torch.minimum(boxes[2], others[2])
    width -= torch.maximum(boxes[0], others[0])
    height = torch.minimum(boxes[3], others[3])
    height -= torch.maximum(boxes[1], others[1])
    if offset:
        width += offset
        height += offset
    intersection = width.clamp_(min=0).mul_(height.clamp_(min=0))
    union = torch.add(boxes[4], others[4], out=height).sub_(intersection)
    return intersection.div_(union)


def _keep_sorted(boxes: Tensor, threshold: float, offset: int) -> Tensor:
    """Indices that are kept of (5, N) boxes in the order of their scores."""
    rest = torch.arange(boxes.shape[1], device=boxes.device)
    kept = [rest[:0]]
    while len(rest):
        block, others = boxes[:, :_BLOCK], boxes[:, _BLOCK:]
        chosen = _keep_block(
            (_overlaps(block, block, offset) > threshold).triu(1)
        )
        kept.append(rest[:_BLOCK][chosen])
        clear = _overlaps(block[:, chosen], others, offset) > threshold
        clear = clear.any(0).logical_not()
        rest, boxes = rest[_BLOCK:][clear], others[:, clear]
    return torch.cat(kept)


def _keep_block(suppresses: Tensor) -> Tensor:
    """Which boxes none that is kept suppresses.

    Each round is right about one box more at least, and mostly about all
    after a few.

    Args:
        suppresses (Tensor): (N, N) bool, those of the rows suppress those of
            the columns, which come later.

    Returns:
        Tensor: (N,) bool.
    """
    kept = torch.ones_like(suppresses[0])
    while True:
        previous = kept
        kept = suppresses[previous].any(0).logical_not()
        if torch.equal(kept, previous):
            return kept
