"""What the transforms that hide parts of the image have in common."""

import inspect
import math
from typing import Callable, Dict, Optional, Sequence, Tuple, Union

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from ...arguments import each, finite, fraction, one_of, positive
from .results import get_image, get_keypoints

Number = Union[int, float]
Fill = Union[int, Sequence[int], str]

# Of images that OpenCV draws on, and takes the mean of.
MAX_CHANNELS = 4


class Occlusion(BaseTransform):
    """Cover a part of some images; subclasses choose it in ``_cover``."""

    fills = ('mean', 'noise')
    # Whether keypoints are needed even without mark_occluded.
    needs_keypoints = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # In mmcv, subclasses would share the list of their base.
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
        """Cover a part of a copy of the image."""
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
            visibility_of(visible)[find_hidden()] = 0
            results['keypoints_visible'] = visible
        return results

    def _cover(
        self, img: np.ndarray, results: Dict
    ) -> Callable[[], np.ndarray]:
        """Paint on an image; return a function that finds hidden keypoints.

        Its result is a mask (N, K).
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


def as_range(name: str, value, unit: str) -> Tuple[Number, Number]:
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


def scale_draws(
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


def clip_boxes(
    start: Sequence, end: Sequence, shape: Tuple[int, int]
) -> np.ndarray:
    """Clip boxes to an image: half-open, (n, 4) as x1, y1, x2, y2.

    They go from whole x, y (n, 2) to others, which may be infinite.
    """
    boxes = np.concatenate([start, end], axis=1)
    size = (*shape[::-1], *shape[::-1])
    return np.minimum(np.maximum(boxes, 0), size).astype(int)


def in_boxes(boxes: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Which pixels (..., 2) are in any of the boxes (n, 4)."""
    xy = xy[..., None, :]
    inside = (xy >= boxes[:, :2]) & (xy < boxes[:, 2:])
    return (inside[..., 0] & inside[..., 1]).any(-1)


def visibility_of(visible: np.ndarray) -> np.ndarray:
    """A view (N, K) of visibilities, which may have weights behind them."""
    return visible if visible.ndim == 2 else visible[..., 0]


def _is_fill(fill: Fill, names: Sequence[str]) -> bool:
    """Whether it is one of the names, or a colour."""
    if isinstance(fill, str):
        return fill in names
    values = fill if isinstance(fill, (tuple, list, np.ndarray)) else [fill]
    try:
        return all(0 <= v <= 255 for v in each(finite, 'fill', values))
    except ValueError:
        return False


def _mean(img: np.ndarray) -> np.ndarray:
    """The mean of each channel of an image."""
    if math.prod(img.shape[2:]) > MAX_CHANNELS:
        return img.mean((0, 1))
    # The same, but several times as fast.
    mean = cv2.mean(img)
    return np.array(mean[: img.shape[2]] if img.ndim == 3 else mean[0])
