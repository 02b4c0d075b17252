"""Transforms that hide parts of the image."""

import inspect
import math
from typing import Callable, Dict, Optional, Sequence, Tuple, Union

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmpose.registry import TRANSFORMS

from ...arguments import each, finite, fraction, one_of, positive, positive_int
from .results import get_image, get_keypoints

Number = Union[int, float]
Fill = Union[int, Sequence[int], str]

# Of images that OpenCV draws on, and takes the mean of.
_MAX_CHANNELS = 4
# Random places, for each patch, that are looked at for background.
_TRIES = 8
# Signs of (x, y) in the quadrants around a point, in circular order.
_QUADRANTS = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], np.int32)


class _Occlusion(BaseTransform):
    """Cover a part of some images; which one, a subclass says in ``_cover``.

    Its arguments are documented there.
    """

    fills = ('mean', 'noise')
    # Whether it takes keypoints even where it marks none.
    needs_keypoints = False

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
        if not _is_fill(fill, self.fills):
            names = ' or '.join(map(repr, self.fills))
            raise ValueError(
                f'fill must be a colour of values in [0, 255], {names}, '
                f'got {fill!r}'
            )
        self.fill = fill
        self.prob = fraction('prob', prob)
        self.mark_occluded = one_of(
            'mark_occluded', mark_occluded, (True, False)
        )

    @cache_randomness
    def _is_chosen(self) -> bool:
        return np.random.rand() < self.prob

    @cache_randomness
    def _sample_seed(self) -> int:
        return np.random.randint(2**31)

    def _make_noise(self, size: int) -> np.ndarray:
        # Its generator is several times as fast as that of np.random.
        words = np.random.SFC64(self._sample_seed()).random_raw(-(-size // 8))
        return words.view(np.uint8)[:size]

    def transform(self, results: Dict) -> dict:
        """Cover a part of the image.

        Args:
            results (dict): The result dict.

        Returns:
            dict: The result dict, with a changed copy of the image.
        """
        original = get_image(self.__class__.__name__, results)
        if self.needs_keypoints or self.mark_occluded:
            self._pixels(results)  # whether there are any, before a draw
        if self.prob < 1 and not self._is_chosen():
            return results
        img = original.copy()
        find_hidden = self._cover(img, results)
        results['img'] = img
        if self.mark_occluded:
            visible = results['keypoints_visible'].copy()
            _visibility(visible)[find_hidden()] = 0
            results['keypoints_visible'] = visible
        return results

    def _cover(
        self, img: np.ndarray, results: Dict
    ) -> Callable[[], np.ndarray]:
        """Paint on an image.

        The function that is returned tells which keypoints (N, K) this hides.
        """
        raise NotImplementedError

    def _pixels(self, results: Dict) -> np.ndarray:
        """The pixels (N, K, 2) of keypoints, whole x and y."""
        # A pixel covers half a cell around its centre, so x is in pixel
        # round(x).
        return np.rint(get_keypoints(self.__class__.__name__, results))

    def _paint(
        self, parts: Sequence[np.ndarray], colour: Optional[np.ndarray]
    ) -> None:
        """Fill parts of an image with a colour, or with noise."""
        if colour is None:
            # One draw for all parts, because a draw may be cached.
            noise = self._make_noise(sum(part.size for part in parts))
            for part in parts:
                part[:] = noise[: part.size].reshape(part.shape)
                noise = noise[part.size :]
        elif parts:
            # To copy rows is faster than to write pixel by pixel.
            width = max(part.shape[1] for part in parts)
            row = np.empty((width, *colour.shape), parts[0].dtype)
            row[:] = colour
            for part in parts:
                part[:] = row[: part.shape[1]]

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
        ValueError: If an argument is out of its range, the image is a list
            of them, or keypoints that are needed are missing.
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
        self.num_holes = positive_int('num_holes', num_holes)
        self.size = _as_range('size', size, 'pixels')

    @cache_randomness
    def _sample_holes(self, height: int, width: int) -> np.ndarray:
        """Draw squares as (n, 4) half-open pixel boxes x1, y1, x2, y2."""
        drawn = np.random.rand(self.num_holes, 3)
        side = _scale(drawn[:, :1], self.size, min(height, width))
        start = np.rint(drawn[:, 1:] * (width, height) - side / 2)
        return _clip(start, start + side, (height, width))

    def _cover(
        self, img: np.ndarray, results: Dict
    ) -> Callable[[], np.ndarray]:
        holes = self._sample_holes(*img.shape[:2])
        # Slices of Python's numbers are the faster ones.
        parts = [img[y1:y2, x1:x2] for x1, y1, x2, y2 in holes.tolist()]
        self._paint(parts, self._colour(img))
        return lambda: _in_boxes(holes, self._pixels(results))


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
        drawn = colour is not None and colour.size <= _MAX_CHANNELS
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
        self.num_keypoints = _as_range(
            'num_keypoints', num_keypoints, 'numbers'
        )
        self.size = _as_range('size', size, 'pixels')

    @cache_randomness
    def _sample_patches(
        self, possible: np.ndarray, shorter: int
    ) -> Tuple[np.ndarray, int]:
        """Draw which of the possible keypoints (N, K) are covered, how large.

        The side of the patches is within the shorter one of the image.
        """
        side = min(int(_scale(np.random.rand(), self.size, shorter)), shorter)
        persons, number = possible.shape
        drawn = np.random.rand(persons, number + 1)
        total = possible.sum(axis=1, keepdims=True)
        wanted = _scale(drawn[:, :1], self.num_keypoints, total)
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
        labelled = _visibility(results['keypoints_visible']) > 0
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
            return inside & _in_boxes(boxes, xy)

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
            boxes = _clip(taken[:, :2], -taken[:, 2:], room[::-1])
            free = np.flatnonzero(_outside(boxes, room[::-1]))
            if len(free):
                index = (drawn[2, :number] * len(free)).astype(int)
                y, x = np.divmod(free[index], room[0])
                return x.tolist(), y.tolist()
        return [], []


def _is_fill(fill: Fill, names: Sequence[str]) -> bool:
    """Whether it is one of the names, or a colour."""
    if isinstance(fill, str):
        return fill in names
    values = fill if isinstance(fill, (tuple, list, np.ndarray)) else [fill]
    try:
        return all(0 <= v <= 255 for v in each(finite, 'fill', values))
    except ValueError:
        return False


def _as_range(name: str, value, unit: str) -> Tuple[Number, Number]:
    """An amount or a range of amounts as a checked range."""
    if isinstance(value, (tuple, list)):
        low, high = each(positive, name, value, length=2)
    else:
        low = high = positive(name, value)
    limit = high if isinstance(low, int) else 1
    if type(low) is not type(high) or not low <= high <= limit:
        raise ValueError(
            f'{name} must be positive {unit} (int) or fractions (float) in '
            f'(0, 1], or a range of one of them, got {value}'
        )
    return low, high


def _scale(
    drawn: np.ndarray,
    limits: Tuple[Number, Number],
    whole: Union[int, np.ndarray],
) -> np.ndarray:
    """Make draws in [0, 1) whole numbers within limits, of at least 1.

    A fraction is one of ``whole``.
    """
    low, high = limits
    if isinstance(low, int):
        return low + np.floor(drawn * (high + 1 - low))
    return np.maximum(1, np.rint((low + drawn * (high - low)) * whole))


def _clip(
    start: Sequence, end: Sequence, shape: Tuple[int, int]
) -> np.ndarray:
    """The parts in an image, as half-open pixel boxes (n, 4) x1, y1, x2, y2.

    Of boxes from whole x, y (n, 2) to others, which may be infinite.
    """
    boxes = np.concatenate([start, end], axis=1)
    size = (*shape[::-1], *shape[::-1])
    return np.minimum(np.maximum(boxes, 0), size).astype(int)


def _in_boxes(boxes: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Which pixels (..., 2) are in any of the boxes (n, 4)."""
    xy = xy[..., None, :]
    inside = (xy >= boxes[:, :2]) & (xy < boxes[:, 2:])
    return (inside[..., 0] & inside[..., 1]).any(-1)


def _mean(img: np.ndarray) -> np.ndarray:
    """The mean of each channel of an image."""
    if math.prod(img.shape[2:]) > _MAX_CHANNELS:
        return img.mean((0, 1))
    # The same, but several times as fast.
    mean = cv2.mean(img)
    return np.array(mean[: img.shape[2]] if img.ndim == 3 else mean[0])


def _outside(boxes: np.ndarray, shape: Tuple[int, int]) -> np.ndarray:
    """Which pixels (H, W) of an image are in none of the boxes (n, 4)."""
    outside = np.ones(shape, bool)
    for x1, y1, x2, y2 in boxes.tolist():
        outside[y1:y2, x1:x2] = False
    return outside


def _visibility(visible: np.ndarray) -> np.ndarray:
    """A view (N, K) of visibilities, which may have weights behind them."""
    return visible if visible.ndim == 2 else visible[..., 0]
