"""Transforms that hide parts of the image."""

import inspect
import math
from functools import partial
from typing import Callable, Dict, Optional, Sequence, Tuple, Union

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmpose.registry import TRANSFORMS

Number = Union[int, float]
Fill = Union[int, Sequence[int], str]

# Of images on which OpenCV draws.
_MAX_DRAWN_CHANNELS = 4
# Signs of (x, y) in the quadrants around a point, in circular order.
_QUADRANTS = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])


class _Occlusion(BaseTransform):
    """Cover a part of some images; which one, a subclass says in ``_cover``.

    Its arguments are documented there.
    """

    fills = ('mean', 'noise')

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # mmcv has all classes below the first one share its list of these.
        cls._methods_with_randomness = [
            name
            for name in dir(cls)
            if isinstance(inspect.getattr_static(cls, name), cache_randomness)
        ]

    def __init__(self, fill: Fill, prob: float, mark_occluded: bool):
        super().__init__()
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], got {prob}')
        if isinstance(fill, str):
            good = fill in self.fills
        else:
            good = fill is not None and all(
                0 <= value <= 255 for value in np.ravel(fill)
            )
        if not good:
            names = ' or '.join(map(repr, self.fills))
            raise ValueError(
                f'fill must be a colour of values in [0, 255], {names}, '
                f'got {fill!r}'
            )
        self.fill = fill
        self.prob = prob
        self.mark_occluded = mark_occluded

    @cache_randomness
    def _is_chosen(self) -> bool:
        return np.random.rand() < self.prob

    @cache_randomness
    def _sample_noise(self, shape: Tuple[int, ...]) -> np.ndarray:
        noise = np.random.bytes(math.prod(shape))
        return np.frombuffer(noise, np.uint8).reshape(shape)

    def transform(self, results: Dict) -> dict:
        """Cover a part of the image.

        Args:
            results (dict): The result dict.

        Returns:
            dict: The result dict, with a changed copy of the image.
        """
        if not self._is_chosen():
            return results
        img = results['img'].copy()
        covers = self._cover(img, results)
        results['img'] = img
        if self.mark_occluded:
            xy, inside = _pixels(results, img.shape[:2])
            x, y = np.where(inside[..., None], xy, 0).astype(int).T
            visible = results['keypoints_visible'].copy()
            _visibility(visible)[inside & covers(x, y).T] = 0
            results['keypoints_visible'] = visible
        return results

    def _cover(
        self, img: np.ndarray, results: Dict
    ) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Paint on an image.

        The function that is returned tells which pixels are covered, given
        their x and y.
        """
        raise NotImplementedError

    def _paint(self, img: np.ndarray, boxes: np.ndarray) -> None:
        """Fill the boxes (n, 4) of an image."""
        fillings = self._fill(img, boxes)
        # Slices of Python's numbers are the faster ones.
        for (x1, y1, x2, y2), filling in zip(boxes.tolist(), fillings):
            img[y1:y2, x1:x2] = filling

    def _fill(self, img: np.ndarray, boxes: np.ndarray) -> list:
        """What the boxes (n, 4) of an image are filled with, each.

        That is as high as the box, or one row for all.
        """
        x1, y1, x2, y2 = boxes.T
        widths, heights = x2 - x1, y2 - y1
        colour = self._colour(img)
        if colour is not None:
            # To copy rows is faster than to write pixel by pixel.
            widths = widths.tolist()
            row = np.empty((max(widths, default=0), *colour.shape), img.dtype)
            row[:] = colour
            return [row[:w] for w in widths]
        # One draw for all boxes, because a draw may be cached.
        ends, channels = np.cumsum(widths * heights), img.shape[2:]
        noise = self._sample_noise((ends[-1:].sum(), *channels))
        return [
            part.reshape(h, w, *channels)
            for part, h, w in zip(np.split(noise, ends), heights, widths)
        ]

    def _colour(self, img: np.ndarray) -> Optional[np.ndarray]:
        """The colour that is filled in, one value per channel, or None."""
        colour, channels = self.fill, img.shape[2:]
        if isinstance(colour, str):
            return np.rint(_mean(img)) if colour == 'mean' else None
        if np.size(colour) not in (1, math.prod(channels)):
            raise ValueError(
                f'fill has {np.size(colour)} channels ({colour}), but the '
                f'image has {math.prod(channels)}'
            )
        return np.full(channels, colour)

    def __repr__(self) -> str:
        names = inspect.signature(self.__class__).parameters
        args = ', '.join(f'{name}={getattr(self, name)}' for name in names)
        return f'{self.__class__.__name__}({args})'


@TRANSFORMS.register_module()
class Cutout(_Occlusion):
    """Fill squares at random places of the network input.

    `Improved Regularization of Convolutional Neural Networks with Cutout
    <https://arxiv.org/abs/1708.04552>`_, as section 4.3 of "Learning Enhanced
    Resolution-wise Features for Human Pose Estimation" (Zhang et al.) uses
    it. Centres are uniform over the image and squares are clipped at its
    border. Neither number nor size of the squares is in the latter paper: the
    defaults are ours. Place it after the affine transform (``TopdownAffine``
    or ``BottomupRandomAffine``).

    Required Keys:

        - img (H, W, C), uint8
        - transformed_keypoints or keypoints (with ``mark_occluded``), in
          pixels of ``img``
        - keypoints_visible (with ``mark_occluded``)

    Modified Keys:

        - img
        - keypoints_visible (with ``mark_occluded``)

    Args:
        num_holes (int): Number of squares. Defaults to 1.
        size (int | float | tuple): Side of a square, or the range (both ends
            included) from which each square's side is drawn. Integers are
            pixels, floats in (0, 1] are fractions of the shorter image side.
            Defaults to ``(0.25, 0.5)``.
        fill (int | Sequence[int] | str): What the squares hold: one value, a
            value per channel in the image's channel order, ``'mean'`` for the
            image's mean colour or ``'noise'`` for uniform random values.
            Defaults to ``(104, 116, 124)``, ImageNet's mean colour in BGR,
            which the data preprocessor turns to zero.
        prob (float): Probability that an image is changed. Defaults to 1.0.
        mark_occluded (bool): Whether covered keypoints get
            ``keypoints_visible`` 0, which takes them out of the loss.
            Defaults to ``False``.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        num_holes: int = 1,
        size: Union[Number, Tuple[Number, Number]] = (0.25, 0.5),
        fill: Fill = (104, 116, 124),
        prob: float = 1.0,
        mark_occluded: bool = False,
    ):
        super().__init__(fill, prob, mark_occluded)
        if num_holes < 1:
            raise ValueError(f'num_holes must be at least 1, got {num_holes}')
        self.num_holes = num_holes
        self.size = _as_range('size', size, 'pixels')

    @cache_randomness
    def _sample_holes(self, height: int, width: int) -> np.ndarray:
        """Draw squares as (n, 4) half-open pixel boxes x1, y1, x2, y2."""
        side = _draw(self.size, min(height, width), self.num_holes)
        centre = np.random.rand(self.num_holes, 2) * (width, height)
        start = np.rint(centre - side[:, None] / 2)
        return _clip(start, start + side[:, None], (height, width))

    def _cover(self, img: np.ndarray, results: Dict) -> np.ndarray:
        holes = self._sample_holes(*img.shape[:2])
        self._paint(img, holes)
        return partial(_in_boxes, holes)


@TRANSFORMS.register_module()
class BodyMasking(_Occlusion):
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
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        prob: float = 0.5,
        max_size: float = 0.3,
        fill: Fill = 128,
        mark_occluded: bool = False,
    ):
        super().__init__(fill, prob, mark_occluded)
        if not 0 < max_size <= 1:
            raise ValueError(f'max_size must be in (0, 1], got {max_size}')
        self.max_size = max_size

    @cache_randomness
    def _sample_vertices(self, height: int, width: int) -> np.ndarray:
        """Draw the vertices (4, 2) as whole x, y, one for each quadrant."""
        size = np.array([width, height])
        centre = ((1 + np.random.rand(2)) / 3 * size).astype(int)
        limit = np.maximum(1, self.max_size * size).astype(int)
        distance = np.random.randint(1, limit + 1, size=(4, 2))
        return centre + _QUADRANTS * distance

    def _cover(self, img: np.ndarray, results: Dict) -> np.ndarray:
        vertices = self._sample_vertices(*img.shape[:2])
        hull = cv2.convexHull(vertices.astype(np.int32))
        colour = self._colour(img)
        if colour is not None and colour.size <= _MAX_DRAWN_CHANNELS:
            cv2.fillConvexPoly(img, hull, colour.tolist())
            return lambda x, y: self._mask(hull, img)[y, x] > 0

        covered = self._mask(hull, img)
        x, y, w, h = cv2.boundingRect(hull)
        box = _clip([[x, y]], [[x + w, y + h]], covered.shape)
        ((x1, y1, x2, y2),), (filling,) = box, self._fill(img, box)
        part = img[y1:y2, x1:x2]
        source = np.empty(part.shape, part.dtype)
        source[:] = filling
        cv2.copyTo(source, covered[y1:y2, x1:x2], part)
        return lambda x, y: covered[y, x] > 0

    @staticmethod
    def _mask(hull: np.ndarray, img: np.ndarray) -> np.ndarray:
        """What is drawn on an image, (H, W)."""
        return cv2.fillConvexPoly(np.zeros(img.shape[:2], np.uint8), hull, 1)


@TRANSFORMS.register_module()
class KeypointMasking(_Occlusion):
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
        ValueError: If an argument is out of its range.
    """

    fills = ('mean', 'noise', 'background')

    def __init__(
        self,
        prob: float = 0.5,
        num_keypoints: Union[Number, Tuple[Number, Number]] = (1, 4),
        size: Union[Number, Tuple[Number, Number]] = (0.05, 0.15),
        fill: Fill = 128,
        mark_occluded: bool = False,
    ):
        super().__init__(fill, prob, mark_occluded)
        self.num_keypoints = _as_range(
            'num_keypoints', num_keypoints, 'numbers'
        )
        self.size = _as_range('size', size, 'pixels')

    @cache_randomness
    def _sample_patches(
        self, possible: np.ndarray, shape: Tuple[int, int]
    ) -> Tuple[np.ndarray, int]:
        """Draw which of the possible keypoints (N, K) are covered, how large.

        The side of the patches is within the image.
        """
        shorter = min(shape)
        side = min(int(_draw(self.size, shorter, 1)[0]), shorter)
        number = _draw(self.num_keypoints, possible.sum(1), len(possible))
        order = np.where(possible, np.random.rand(*possible.shape), np.inf)
        rank = order.argsort(1).argsort(1)
        return possible & (rank < number[:, None]), side

    @cache_randomness
    def _sample_places(
        self, free: np.ndarray, number: int
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Draw x and y (number,) out of a map (H, W) of those allowed."""
        # As bytes, because numpy is slow to sum up booleans.
        in_row = free.view(np.uint8).sum(axis=1, dtype=np.uint16)
        ends = np.cumsum(in_row, dtype=int)
        index = np.random.randint(ends[-1], size=number)
        # Row by row, so that only the rows of those drawn are looked through.
        y = np.searchsorted(ends, index, side='right')
        order = np.cumsum(free[y], axis=1)
        left = order[:, -1] - (ends[y] - index)
        return (order > left[:, None]).argmax(axis=1), y

    def _cover(self, img: np.ndarray, results: Dict) -> np.ndarray:
        shape = img.shape[:2]
        xy, inside = _pixels(results, shape)
        labelled = _visibility(results['keypoints_visible']) > 0
        chosen, side = self._sample_patches(inside & labelled, shape)
        start = xy[chosen] - side // 2
        patches = _clip(start, start + side, shape)

        if not isinstance(self.fill, str) or self.fill != 'background':
            self._paint(img, patches)
            return partial(_in_boxes, patches)

        free = self._free_places(_keypoints(results), labelled, side, shape)
        if not free.any():
            return partial(_in_boxes, patches[:0])
        places = zip(*self._sample_places(free, len(patches)))
        for (x1, y1, x2, y2), (x, y) in zip(patches.tolist(), places):
            source = results['img'][y : y + y2 - y1, x : x + x2 - x1]
            img[y1:y2, x1:x2] = source
        return partial(_in_boxes, patches)

    @staticmethod
    def _free_places(
        keypoints: np.ndarray,
        labelled: np.ndarray,
        side: int,
        shape: Tuple[int, int],
    ) -> np.ndarray:
        """At which places (H, W) of its corner a patch meets no person."""
        start = np.rint(keypoints) - side // 2
        own = labelled[..., None]
        first = start.min(axis=1, where=own, initial=np.inf)
        last = start.max(axis=1, where=own, initial=-np.inf)
        free = _clear_of(first, last + side, side, shape)
        if not free.any():
            start = start[labelled]
            free = _clear_of(start, start + side, side, shape)
        return free


def _as_range(name: str, value, unit: str) -> Tuple[Number, Number]:
    """An amount or a range of amounts as a checked range."""
    low, high = value if isinstance(value, (tuple, list)) else (value, value)
    whole = isinstance(low, int) and isinstance(high, int)
    limit = np.inf if whole else 1
    if type(low) is not type(high) or not 0 < low <= high <= limit:
        raise ValueError(
            f'{name} must be positive {unit} (int) or fractions (float) in '
            f'(0, 1], or a range of one of them, got {value}'
        )
    return low, high


def _draw(
    limits: Tuple[Number, Number],
    whole: Union[int, np.ndarray],
    number: int,
) -> np.ndarray:
    """Draw integers of at least 1, where a fraction is one of ``whole``."""
    low, high = limits
    if isinstance(low, int):
        return np.random.randint(low, high + 1, size=number)
    fraction = np.random.uniform(low, high, size=number)
    return np.maximum(1, np.rint(fraction * whole))


def _clip(
    start: Sequence, end: Sequence, shape: Tuple[int, int]
) -> np.ndarray:
    """The parts in an image, as half-open pixel boxes (n, 4) x1, y1, x2, y2.

    Of boxes from whole x, y (n, 2) to others, which may be infinite.
    """
    boxes = np.concatenate([start, end], axis=1)
    return np.minimum(np.maximum(boxes, 0), shape[::-1] * 2).astype(int)


def _in_boxes(boxes: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which pixels are in any of the boxes (n, 4)."""
    x, y = x[..., None], y[..., None]
    x1, y1, x2, y2 = boxes.T
    return ((x >= x1) & (x < x2) & (y >= y1) & (y < y2)).any(-1)


def _mean(img: np.ndarray) -> np.ndarray:
    """The mean of each channel of an image."""
    # Along columns first: numpy is slow where an axis is as short as this.
    columns = cv2.reduce(
        img.reshape(len(img), -1), 0, cv2.REDUCE_SUM, dtype=cv2.CV_64F
    )
    return columns.reshape(img.shape[1:]).mean(0) / len(img)


def _clear_of(
    start: np.ndarray, end: np.ndarray, side: int, shape: Tuple[int, int]
) -> np.ndarray:
    """At which places of its corner a square in an image meets no box.

    The boxes go from x, y (n, 2) to others.
    """
    height, width = (length - side + 1 for length in shape)
    free = np.ones((height, width), bool)
    boxes = _clip(start - (side - 1), end, (height, width))
    for x1, y1, x2, y2 in boxes.tolist():
        free[y1:y2, x1:x2] = False
    return free


def _keypoints(results: Dict) -> np.ndarray:
    """Keypoints (N, K, 2) in the pixels of the image."""
    keypoints = results.get('transformed_keypoints')
    if keypoints is None:
        keypoints = results['keypoints']
    return keypoints[..., :2]


def _pixels(
    results: Dict, shape: Tuple[int, int]
) -> Tuple[np.ndarray, np.ndarray]:
    """The pixels (N, K, 2) of keypoints, and which are in the image (N, K)."""
    # A pixel covers half a cell around its centre, so x is in pixel round(x).
    xy = np.rint(_keypoints(results))
    inside = (xy >= 0) & (xy < shape[::-1])
    return xy, inside[..., 0] & inside[..., 1]


def _visibility(visible: np.ndarray) -> np.ndarray:
    """A view (N, K) of visibilities, which may have weights behind them."""
    return visible if visible.ndim == 2 else visible[..., 0]
