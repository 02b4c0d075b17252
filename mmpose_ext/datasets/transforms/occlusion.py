"""Transforms that hide parts of the image."""

import inspect
from typing import Dict, Sequence, Tuple, Union

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmpose.registry import TRANSFORMS

Number = Union[int, float]
Fill = Union[int, Sequence[int], str]

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
        return np.random.randint(0, 256, size=shape, dtype=np.uint8)

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
        covered = self._cover(img, results)
        results['img'] = img
        if self.mark_occluded:
            xy, inside = _pixels(results, covered.shape)
            visible = results['keypoints_visible'].copy()
            hidden = inside & covered[xy[..., 1], xy[..., 0]]
            _visibility(visible)[hidden] = 0
            results['keypoints_visible'] = visible
        return results

    def _cover(self, img: np.ndarray, results: Dict) -> np.ndarray:
        """Paint on an image, and return which pixels (H, W) are covered."""
        raise NotImplementedError

    def _paint(self, img: np.ndarray, covered: np.ndarray) -> None:
        """Fill the covered pixels (H, W) of an image."""
        colour = self.fill
        if isinstance(colour, str) and colour == 'noise':
            colour = self._sample_noise(img.shape)[covered]
        elif isinstance(colour, str):
            colour = np.rint(img.mean((0, 1)))
        elif np.size(colour) not in (1, np.size(img[0, 0])):
            raise ValueError(
                f'fill has {np.size(colour)} channels ({colour}), but the '
                f'image has {np.size(img[0, 0])}'
            )
        img[covered] = colour

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
        return _clip(start, side[:, None], (height, width))

    def _cover(self, img: np.ndarray, results: Dict) -> np.ndarray:
        holes = self._sample_holes(*img.shape[:2])
        covered = _fill_boxes(holes, img.shape[:2])
        self._paint(img, covered)
        return covered


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
        covered = np.zeros(img.shape[:2], np.uint8)
        hull = cv2.convexHull(vertices.astype(np.int32))
        covered = cv2.fillConvexPoly(covered, hull, 1).astype(bool)
        self._paint(img, covered)
        return covered


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
    def _sample_side(self, height: int, width: int) -> int:
        """Draw the side of the patches, which is within the image."""
        shorter = min(height, width)
        return min(int(_draw(self.size, shorter, 1)[0]), shorter)

    @cache_randomness
    def _sample_keypoints(self, possible: np.ndarray) -> np.ndarray:
        """Draw which of the possible keypoints (N, K) are covered."""
        number = _draw(self.num_keypoints, possible.sum(1), len(possible))
        order = np.where(possible, np.random.rand(*possible.shape), np.inf)
        rank = order.argsort(1).argsort(1)
        return possible & (rank < number[:, None])

    @cache_randomness
    def _sample_places(self, free: np.ndarray, number: int) -> np.ndarray:
        """Draw x, y (number, 2) out of a map (H, W) of those allowed."""
        y, x = np.nonzero(free)
        index = np.random.randint(len(x), size=number)
        return np.stack([x[index], y[index]], axis=1)

    def _cover(self, img: np.ndarray, results: Dict) -> np.ndarray:
        shape = img.shape[:2]
        xy, inside = _pixels(results, shape)
        labelled = _visibility(results['keypoints_visible']) > 0
        side = self._sample_side(*shape)
        chosen = self._sample_keypoints(inside & labelled)
        patches = _clip(xy[chosen] - side // 2, side, shape)

        if not isinstance(self.fill, str) or self.fill != 'background':
            covered = _fill_boxes(patches, shape)
            self._paint(img, covered)
            return covered

        free = self._free_places(_keypoints(results), labelled, side, shape)
        if not free.any():
            return np.zeros(shape, bool)
        places = self._sample_places(free, len(patches))
        for (x1, y1, x2, y2), (x, y) in zip(patches, places):
            source = results['img'][y : y + y2 - y1, x : x + x2 - x1]
            img[y1:y2, x1:x2] = source
        return _fill_boxes(patches, shape)

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
        persons = np.concatenate(
            [
                np.where(own, start, np.inf).min(1),
                np.where(own, start + side, -np.inf).max(1),
            ],
            axis=1,
        )
        free = _clear_of(persons, side, shape)
        if not free.any():
            start = start[labelled]
            free = _clear_of(np.hstack([start, start + side]), side, shape)
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
    start: np.ndarray, side: Union[int, np.ndarray], shape: Tuple[int, int]
) -> np.ndarray:
    """Squares as (n, 4) half-open pixel boxes x1, y1, x2, y2 in an image."""
    height, width = shape
    boxes = np.hstack([start, start + side])
    return boxes.clip(0, (width, height, width, height)).astype(int)


def _fill_boxes(boxes: np.ndarray, shape: Tuple[int, int]) -> np.ndarray:
    """The pixels (H, W) in any of the boxes (n, 4)."""
    mask = np.zeros(shape, bool)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = True
    return mask


def _clear_of(
    boxes: np.ndarray, side: int, shape: Tuple[int, int]
) -> np.ndarray:
    """At which places of its corner a square in an image meets no box."""
    y, x = (np.arange(length - side + 1) for length in shape)
    x1, y1, x2, y2 = boxes.T[..., None]
    meets_x = (x < x2) & (x + side > x1)
    meets_y = (y < y2) & (y + side > y1)
    # Floats, because a matrix product of booleans is slow.
    return meets_y.T.astype(np.float32) @ meets_x.astype(np.float32) == 0


def _keypoints(results: Dict) -> np.ndarray:
    """Keypoints (N, K, 2) in the pixels of the image."""
    keypoints = results.get('transformed_keypoints')
    if keypoints is None:
        keypoints = results['keypoints']
    return keypoints[..., :2]


def _pixels(
    results: Dict, shape: Tuple[int, int]
) -> Tuple[np.ndarray, np.ndarray]:
    """The pixels (N, K, 2) of keypoints, and which are in the image (N, K).

    Those that are not get the pixel (0, 0).
    """
    # A pixel covers half a cell around its centre, so x is in pixel round(x).
    xy = np.rint(_keypoints(results))
    inside = ((xy >= 0) & (xy < shape[::-1])).all(-1)
    return np.where(inside[..., None], xy, 0).astype(int), inside


def _visibility(visible: np.ndarray) -> np.ndarray:
    """A view (N, K) of visibilities, which may have weights behind them."""
    return visible if visible.ndim == 2 else visible[..., 0]
