"""A quadrangle before the body."""

from typing import Callable, Dict

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmpose.registry import TRANSFORMS

from ...arguments import fraction, positive
from .occlusion import MAX_CHANNELS, Fill, Occlusion

# Signs of (x, y) in the quadrants around a point, in circular order.
_QUADRANTS = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], np.int32)


@TRANSFORMS.register_module()
class BodyMasking(Occlusion):
    """Fill a quadrangle near the middle of the image.

    Section 3.2.2 and figure 5 of `Global Context for Convolutional Pose
    Machines <https://arxiv.org/abs/1906.04104>`_, which mimics with it that
    something stands before the body. The centre is uniform in the middle
    third of either axis. In each of the four quadrants around it lies a
    vertex, whose distances from it along x and y are uniform over the whole
    pixels from one to ``max_size`` of the image's width and height.

    The paper says no more than that the sides are random with a limit of 30 %
    of the image. Filled is the convex hull of the four vertices, so that the
    shape is convex however they are drawn: where a vertex falls inside the
    triangle of the other three, the shape is this triangle. It always
    contains the centre, and is at most ``2 * max_size`` wide and high.

    The shape is relative to the image that it meets, so place it where the
    image is the person: after ``TopdownAffine``, or before it on crops of
    persons such as those of LIP (as the paper has it). Images of a bottom-up
    model get one quadrangle.

    Required Keys:

        - img (H, W, C), uint8
        - transformed_keypoints or keypoints (with ``mark_occluded``), in
          pixels of ``img``
        - keypoints_visible (with ``mark_occluded``)

    Modified Keys:

        - img
        - keypoints_visible (with ``mark_occluded``)

    Args:
        prob (float): Probability that an image is changed. Defaults to 0.5.
        max_size (float): Largest distance of a vertex from the centre along
            either axis, as a fraction in (0, 1] of the image's size there.
            It is never less than a pixel. Defaults to 0.3.
        fill (int | Sequence[int] | str): What the quadrangle holds: one
            value, a value per channel in the image's channel order,
            ``'mean'`` for the image's mean colour or ``'noise'`` for uniform
            random values. Defaults to 128.
        mark_occluded (bool): Whether covered keypoints get
            ``keypoints_visible`` 0, which takes them out of the loss.
            Defaults to ``False``: the network learns to guess them.

    Raises:
        ValueError: If an argument is out of its range, the image is a list
            of them, or keypoints that are needed are missing.
    """

    def __init__(
        self,
        prob: float = 0.5,
        max_size: float = 0.3,
        fill: Fill = 128,
        mark_occluded: bool = False,
    ):
        super().__init__(fill, prob, mark_occluded)
        self.max_size = fraction('max_size', positive('max_size', max_size))

    @cache_randomness
    def _sample_vertices(self, height: int, width: int) -> np.ndarray:
        """Draw the vertices (4, 2) as whole x, y, one for each quadrant."""
        size = np.array((width, height))
        limit = (self.max_size * size).astype(int)
        drawn = np.random.rand(5, 2)
        drawn[0] = (drawn[0] + 1) / 3 * size
        drawn[1:] = drawn[1:] * limit + 1
        centre, *_ = whole = drawn.astype(np.int32)
        return centre + _QUADRANTS * whole[1:]

    def _cover(
        self, img: np.ndarray, results: Dict
    ) -> Callable[[], np.ndarray]:
        vertices = self._sample_vertices(*img.shape[:2])
        hull = cv2.convexHull(vertices)
        # All is done within the hull's box, of which slices clip the end.
        left, top, width, height = cv2.boundingRect(hull)
        x1, y1 = corner = max(left, 0), max(top, 0)
        part = img[y1 : top + height, x1 : left + width]
        hull -= corner
        height, width = part.shape[:2]

        colour = self._colour(img)
        drawn = colour is not None and colour.size <= MAX_CHANNELS
        if not drawn or self.mark_occluded:
            # The last row and column, and so those before the first, are 0.
            mask = np.zeros((height + 1, width + 1), np.uint8)
            cv2.fillConvexPoly(mask[:-1, :-1], hull, 1)
        if drawn:
            cv2.fillConvexPoly(part, hull, colour.tolist())
        else:
            if colour is None:
                filled = self._make_noise(part.size).reshape(part.shape)
            else:
                filled = np.full(part.shape, colour, part.dtype)
            cv2.copyTo(filled, mask[:-1, :-1], part)

        def find_hidden() -> np.ndarray:
            xy = np.fmax(self._pixels(results) - np.array(corner), -1)
            xy = np.minimum(xy, np.array((width, height))).astype(int)
            return mask[xy[..., 1], xy[..., 0]] > 0

        return find_hidden
