"""Patches on keypoints."""

from typing import Callable, Dict, Tuple, Union

import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmpose.registry import TRANSFORMS

from .occlusion import (
    Fill,
    Number,
    Occlusion,
    as_range,
    clip_boxes,
    in_boxes,
    scale_draws,
    visibility_of,
)

# Random places, for each patch, that are looked at for background.
_TRIES = 8


@TRANSFORMS.register_module()
class KeypointMasking(Occlusion):
    """Cover some keypoints with small square patches.

    Section 3.4 of `Multi-Scale Structure-Aware Network for Human Pose
    Estimation <https://arxiv.org/abs/1803.09894>`_ (Ke et al., ECCV 2018)
    copies patches of background onto keypoints: ``fill='background'``. Its
    other half, body patches that are copied to the background, is not done
    here. Section 3.2.2 of `Global Context for Convolutional Pose Machines
    <https://arxiv.org/abs/1906.04104>`_ compares it, with patches of a fixed
    colour, to :class:`BodyMasking`, and gives neither the number nor the size
    of the patches: the defaults are ours.

    Each person has its own draw, among its keypoints that are labelled and
    inside the image. All patches of an image have one size; they are centred
    on the keypoint's pixel and clipped at the border.

    Background is taken from a random place of the image, which may be its
    padding, uniform over those where the patch meets no person. A person is
    the box around such patches on all its labelled keypoints; people without
    labels are not known. Where persons leave no room, the patch only keeps
    clear of the patches that would cover the labelled keypoints; where these
    leave no room either, the image stays as it is.

    Required Keys:

        - img (H, W, C), uint8
        - transformed_keypoints or keypoints, in pixels of ``img``
        - keypoints_visible

    Modified Keys:

        - img
        - keypoints_visible (with ``mark_occluded``)

    Args:
        prob (float): Probability that an image is changed. Defaults to 0.5.
        num_keypoints (int | float | tuple): How many keypoints of a person
            are covered, or the range (both ends included) from which that is
            drawn. Integers are numbers, floats in (0, 1] are fractions of
            those that can be covered (rounded, and at least one). Defaults to
            ``(1, 4)``.
        size (int | float | tuple): Side of the patches, or the range (both
            ends included) from which it is drawn. Integers are pixels, floats
            in (0, 1] are fractions of the shorter image side. Defaults to
            ``(0.05, 0.15)``.
        fill (int | Sequence[int] | str): What the patches hold: one value, a
            value per channel in the image's channel order, ``'mean'`` for the
            image's mean colour, ``'noise'`` for uniform random values or
            ``'background'``. Defaults to 128.
        mark_occluded (bool): Whether covered keypoints, also those that
            another one's patch covers, get ``keypoints_visible`` 0, which
            takes them out of the loss. Defaults to ``False``: the network
            learns to guess them.

    Raises:
        ValueError: If an argument is out of its range, the image is a list
            of them, or keypoints that are needed are missing.
    """

    fills = ('mean', 'noise', 'background')
    needs_keypoints = True

    def __init__(
        self,
        prob: float = 0.5,
        num_keypoints: Union[Number, Tuple[Number, Number]] = (1, 4),
        size: Union[Number, Tuple[Number, Number]] = (0.05, 0.15),
        fill: Fill = 128,
        mark_occluded: bool = False,
    ):
        super().__init__(fill, prob, mark_occluded)
        self.num_keypoints = as_range(
            'num_keypoints', num_keypoints, 'numbers'
        )
        self.size = as_range('size', size, 'pixels')

    @cache_randomness
    def _sample_patches(
        self, possible: np.ndarray, shorter: int
    ) -> Tuple[np.ndarray, int]:
        """Draw which of the possible keypoints (N, K) are covered, how large.

        The side of the patches is within the shorter one of the image.
        """
        side = min(
            int(scale_draws(np.random.rand(), self.size, shorter)), shorter
        )
        persons, number = possible.shape
        drawn = np.random.rand(persons, number + 1)
        total = possible.sum(axis=1, keepdims=True)
        wanted = scale_draws(drawn[:, :1], self.num_keypoints, total)
        order = np.where(possible, drawn[:, 1:], np.inf)
        rank = order.argsort(axis=1).argsort(axis=1)
        return possible & (rank < wanted), side

    @cache_randomness
    def _sample_places(self, number: int) -> np.ndarray:
        """Draw x and y in [0, 1) of places to try, and what picks others."""
        return np.random.rand(3, _TRIES * (number + 1))

    def _cover(
        self, img: np.ndarray, results: Dict
    ) -> Callable[[], np.ndarray]:
        size = np.array(img.shape[1::-1])
        xy = self._pixels(results)
        labelled = visibility_of(results['keypoints_visible']) > 0
        inside = (xy >= 0) & (xy < size)
        inside = inside[..., 0] & inside[..., 1]
        chosen, side = self._sample_patches(
            inside & labelled, min(img.shape[:2])
        )
        start = xy - side // 2
        corners = start[chosen].astype(int)
        # Slices clip the end, and are faster of Python's numbers.
        parts = [
            img[max(y, 0) : y + side, max(x, 0) : x + side]
            for x, y in corners.tolist()
        ]
        if isinstance(self.fill, str) and self.fill == 'background':
            places = self._find_background(
                start, labelled, side, size, len(parts)
            )
            for part, x, y in zip(parts, *places):
                height, width = part.shape[:2]
                part[:] = results['img'][y : y + height, x : x + width]
            corners = corners[: len(places[0])]
        else:
            self._paint(parts, self._colour(img))

        def find_hidden() -> np.ndarray:
            boxes = np.concatenate([corners, corners + side], axis=1)
            return inside & in_boxes(boxes, xy)

        return find_hidden

    def _find_background(
        self,
        start: np.ndarray,
        labelled: np.ndarray,
        side: int,
        size: np.ndarray,
        number: int,
    ) -> Tuple[list, list]:
        """Corners x and y of so many patches of background, or of none.

        Those on the keypoints would be at ``start`` (N, K, 2) of an image of
        ``size`` (w, h).
        """
        room = size - (side - 1)
        drawn = self._sample_places(number)
        # x1, y1, -x2 and -y2 of where a patch would meet those.
        points = np.concatenate([start - (side - 1), -start - side], axis=-1)
        points = np.where(labelled[..., None], points, np.inf)
        persons = points.min(axis=1)
        # Most often, enough of the places to try are free.
        xy = drawn[:2] * room[:, None]
        met = (xy >= persons[:, :2, None]) & (xy < -persons[:, 2:, None])
        met = np.logical_or.reduce(met[:, 0] & met[:, 1])
        free = (~met).nonzero()[0]
        if len(free) >= number:
            return xy[:, free[:number]].astype(int).tolist()

        for taken in (persons, points[labelled]):
            boxes = clip_boxes(taken[:, :2], -taken[:, 2:], room[::-1])
            free = np.flatnonzero(_outside(boxes, room[::-1]))
            if len(free):
                index = (drawn[2, :number] * len(free)).astype(int)
                y, x = np.divmod(free[index], room[0])
                return x.tolist(), y.tolist()
        return [], []


def _outside(boxes: np.ndarray, shape: Tuple[int, int]) -> np.ndarray:
    """Which pixels (H, W) of an image are in none of the boxes (n, 4)."""
    outside = np.ones(shape, bool)
    for x1, y1, x2, y2 in boxes.tolist():
        outside[y1:y2, x1:x2] = False
    return outside
