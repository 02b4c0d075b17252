"""Heatmaps of keypoints and centres, and offsets from a centre's cells."""

import math
from typing import NamedTuple, Optional, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.registry import KEYPOINT_CODECS
from torch import Tensor

from ..arguments import each, fraction, non_negative, positive, positive_int


class _People(NamedTuple):
    """The people of an image that count, in px of the input."""

    keypoints: np.ndarray  # (N', K, 2), 0 where unlabelled
    labelled: np.ndarray  # (N', K), bool
    area: np.ndarray  # (N',)
    centers: np.ndarray  # (N', 2)
    has_center: np.ndarray  # (N',), bool


@KEYPOINT_CODECS.register_module()
class CenterOffset(BaseKeypointCodec):
    """Heatmaps of keypoints and centres, and keypoints relative to a centre.

    The centre-offset representation that `Learning Local-Global Contextual
    Adaptation for Multi-Person Pose Estimation
    <https://arxiv.org/abs/2109.03622>`_ (LOGO-CAP) starts from (supplementary
    section 2, section 3 of the paper). The text gives no numbers for the
    targets; the defaults and the rules below are those of the published
    training.

    **People.** Crowd regions without a labelled keypoint are left out. The
    centre of a person is the mean of its labelled keypoints, those outside
    the input included, or else the middle of its box. A person whose area is
    below ``min_area`` has no centre and no offsets; neither has one without
    a labelled keypoint where no boxes are given. Its keypoints are drawn
    all the same.

    **Heatmaps.** Gaussians at the exact positions, the highest of all people,
    drawn from cell ``floor(x - 3 * sigma - 1)`` to below
    ``ceil(x + 3 * sigma + 2)`` along both axes. Points outside the maps are
    left out. One weight map serves all heatmaps: 1 inside any of the squares
    drawn, ``background_weight`` elsewhere.

    **Offsets.** A cell of the square ``c - offset_radius`` to
    ``c + offset_radius - 1`` around the cell c of a person's centre holds its
    own position minus that of the person's keypoint, with the weight
    ``1 / sqrt(area)`` (areas below 1 px^2 count as 1). Keypoints and centres
    outside the maps have none; for a centre that is our reading, as no
    decoding could find it. Where people overlap, they are written in their
    order, keypoint by keypoint, and an offset that has been written, which is
    one that is not (0, 0), is kept from a person who is larger than the one
    who wrote last in the cell, whichever keypoint that was. So the smaller
    one wins, of equals the later one, and a larger one that fills in a
    keypoint also overwrites those after it.

    **Flips.** A cell x is r * x px with the stride r, the ratio of input and
    map. The training mirrors images in pixels (x to W - 1 - x) but targets in
    cells (x to w - 1 - x), which cancels, on average, the shift of
    ``(r - 1) / 2`` px between these cells and those of an interpolation.
    MMPose's ``RandomFlip`` has mirrored the keypoints in pixels. With
    ``flip_direction`` the maps are therefore drawn for keypoints moved by
    r - 1 px to the left; the labels are not moved. Vertical flips are refused.

    Note:

        - instance number: N, of which N' are kept
        - keypoint number: K
        - input size: [w, h], px
        - heatmap size: [W, H], cells

    Encoded:

        - heatmaps (np.ndarray): Of shape (K + 1, H, W), float32; the centre
          is the last.
        - heatmap_weights (np.ndarray): Of shape (1, H, W), float32.
        - offsets (np.ndarray): Of shape (2K, H, W), float32, cells; channel
          2k is x and 2k + 1 is y of keypoint k.
        - offset_weights (np.ndarray): Of shape (2K, H, W), float32.
        - keypoint_labels (np.ndarray): The kept people's keypoints in shape
          (N', K, 2), float32, px of the input; (0, 0) where unlabelled.
        - keypoint_weights (np.ndarray): 1 where a keypoint is labelled and
          inside the input, else 0, in shape (N', K), float32.
        - instance_areas (np.ndarray): Their areas in shape (N',), float32,
          px^2 of the input.

    ``heatmap_mask``, which MMPose's ``BottomupGetHeatmapMask`` adds after
    ``GenerateTarget``, is packed with the fields.

    Args:
        input_size (tuple): Size of the network input in [w, h], px; the same
            whole multiple of ``heatmap_size`` along both axes.
        heatmap_size (tuple): Size of the encoded maps in [W, H], cells.
        sigma (tuple): Standard deviations of the Gaussians of centres and of
            keypoints, cells. Defaults to ``(4, 2)``.
        offset_radius (int): Half the side of the square around a centre that
            holds offsets, cells. Defaults to 4.
        background_weight (float): Weight of the heatmaps where nothing is
            drawn. Defaults to 0.1.
        min_area (float): Area of the smallest person with a centre, px^2 of
            the input. Defaults to 1024.
        decode_nms_kernel (int): Side of the square in which a centre is the
            highest, px of the input; odd. Defaults to 3.
        decode_max_instances (int): Number of centres that are decoded.
            Defaults to 30.
        decode_thr (float): Lowest score of a person that :meth:`decode`
            returns, besides the best one. Defaults to 0.01.

    Attributes:
        stride (int): Size of a cell, px of the input.

    Raises:
        ValueError: If an argument is out of its range.
    """

    auxiliary_encode_keys = {'area', 'bbox', 'iscrowd', 'flip_direction'}

    field_mapping_table = dict(
        heatmaps='heatmaps',
        heatmap_weights='heatmap_weights',
        offsets='offsets',
        offset_weights='offset_weights',
        heatmap_mask='heatmap_mask',
    )
    label_mapping_table = dict(
        keypoint_labels='keypoint_labels',
        keypoint_weights='keypoint_weights',
        instance_areas='areas',
    )

    def __init__(
        self,
        input_size: Tuple[int, int],
        heatmap_size: Tuple[int, int],
        sigma: Tuple[float, float] = (4, 2),
        offset_radius: int = 4,
        background_weight: float = 0.1,
        min_area: float = 1024,
        decode_nms_kernel: int = 3,
        decode_max_instances: int = 30,
        decode_thr: float = 0.01,
    ):
        super().__init__()
        input_size = tuple(each(positive_int, 'input_size', input_size, 2))
        heatmap_size = tuple(
            each(positive_int, 'heatmap_size', heatmap_size, 2)
        )
        stride = input_size[0] // heatmap_size[0]
        if input_size != tuple(stride * n for n in heatmap_size):
            raise ValueError(
                'input_size must be the same whole multiple of heatmap_size '
                f'along both axes, got {input_size} and {heatmap_size}'
            )
        self.input_size = input_size
        self.heatmap_size = heatmap_size
        self.stride = stride
        self.sigma = tuple(each(positive, 'sigma', sigma, 2))
        self.offset_radius = positive_int('offset_radius', offset_radius)
        self.background_weight = non_negative(
            'background_weight', background_weight
        )
        self.min_area = non_negative('min_area', min_area)
        self.decode_nms_kernel = positive_int(
            'decode_nms_kernel', decode_nms_kernel
        )
        if self.decode_nms_kernel % 2 != 1:
            raise ValueError(
                f'decode_nms_kernel must be odd, got {decode_nms_kernel}'
            )
        self.decode_max_instances = positive_int(
            'decode_max_instances', decode_max_instances
        )
        self.decode_thr = fraction('decode_thr', decode_thr)

    def encode(
        self,
        keypoints: np.ndarray,
        keypoints_visible: Optional[np.ndarray] = None,
        area: Optional[np.ndarray] = None,
        bbox: Optional[np.ndarray] = None,
        iscrowd: Optional[np.ndarray] = None,
        flip_direction: Optional[str] = None,
    ) -> dict:
        """Draw the maps and collect the labels.

        Args:
            keypoints (np.ndarray): (x, y) of shape (N, K, 2), px of the
                input.
            keypoints_visible (np.ndarray, optional): Of shape (N, K); a
                keypoint is labelled where it is above 0. Defaults to
                ``None``, all are.
            area (np.ndarray, optional): Areas of the people's masks in shape
                (N,), px^2 of the input. Defaults to ``None``, 0.53 times the
                area of the box around the labelled keypoints (MMPose's
                datasets estimate it like this from an annotated box).
            bbox (np.ndarray, optional): Boxes in shape (N, 4), left, top,
                right, bottom, or their corners in shape (N, 4, 2), px of the
                input. Defaults to ``None``, people without a labelled
                keypoint have no centre.
            iscrowd (np.ndarray, optional): Of shape (N,); true where an
                annotation is a crowd region. Defaults to ``None``, none is.
            flip_direction (str, optional): ``'horizontal'`` if image and
                keypoints have been mirrored, see the class. Defaults to
                ``None``, they have not.

        Returns:
            dict: The items listed at the class.

        Raises:
            ValueError: If a shape does not fit ``keypoints``, or an area or
                a labelled keypoint is not finite.
        """
        people = self._people(
            keypoints, keypoints_visible, area, bbox, iscrowd
        )
        if flip_direction not in (None, 'horizontal'):
            raise ValueError(
                'flip_direction must be horizontal or None, got '
                f"'{flip_direction}'"
            )
        shift = (self.stride - 1 if flip_direction else 0, 0)
        joints = (people.keypoints - shift) / self.stride
        centers = (people.centers - shift) / self.stride
        drawn = people.labelled & _inside(joints, self.heatmap_size)
        has_center = people.has_center & _inside(centers, self.heatmap_size)

        k = joints.shape[1]
        w, h = self.heatmap_size
        heatmaps = np.zeros((k + 1, h, w), np.float32)
        weights = np.full((1, h, w), self.background_weight, np.float32)
        _draw(
            heatmaps,
            weights,
            np.nonzero(drawn)[1],
            joints[drawn],
            self.sigma[1],
        )
        _draw(heatmaps, weights, k, centers[has_center], self.sigma[0])
        offsets, offset_weights = self._offsets(
            joints[has_center],
            drawn[has_center],
            centers[has_center],
            people.area[has_center],
        )
        valid = people.labelled & _inside(people.keypoints, self.input_size)
        return dict(
            heatmaps=heatmaps,
            heatmap_weights=weights,
            offsets=offsets,
            offset_weights=offset_weights,
            keypoint_labels=people.keypoints.astype(np.float32),
            keypoint_weights=valid.astype(np.float32),
            instance_areas=people.area.astype(np.float32),
        )

    def _people(self, keypoints, visible, area, bbox, iscrowd) -> _People:
        """Check the arguments of ``encode``, and pick the people to keep."""
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
        if not np.isfinite(keypoints[labelled]).all():
            person, joint = np.argwhere(
                labelled & ~np.isfinite(keypoints).all(axis=2)
            )[0]
            raise ValueError(
                f'keypoint {joint} of person {person} is labelled, but is at '
                f'{keypoints[person, joint]}'
            )
        own, any_own = labelled[..., None], labelled.any(axis=1)
        if area is None:
            low = np.where(own, keypoints, np.inf).min(axis=1)
            high = np.where(own, keypoints, -np.inf).max(axis=1)
            area = 0.53 * np.maximum(high - low, 0).prod(axis=1)
        elif not np.isfinite(area).all():
            raise ValueError(f'area must be finite, got {area}')

        keypoints = np.where(own, keypoints, 0)
        centers = keypoints.sum(axis=1) / np.maximum(own.sum(axis=1), 1)
        has_center = area >= self.min_area
        if bbox is None:
            has_center &= any_own
        else:
            corners = bbox.reshape(n, 2, 2) if bbox.ndim == 2 else bbox
            middle = corners.mean(axis=1)
            centers = np.where(any_own[:, None], centers, middle)

        kept = np.ones(n, bool)
        if iscrowd is not None:
            kept = any_own | (iscrowd == 0)
        return _People(
            keypoints[kept],
            labelled[kept],
            area[kept],
            centers[kept],
            has_center[kept],
        )

    def _offsets(
        self,
        joints: np.ndarray,
        drawn: np.ndarray,
        centers: np.ndarray,
        area: np.ndarray,
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Offsets and weights, each (2K, H, W), of people with a centre.

        ``joints`` (P, K, 2) and ``centers`` (P, 2) are in cells, ``drawn``
        (P, K) tells which joints are labelled and inside.
        """
        w, h = self.heatmap_size
        k = joints.shape[1]
        area = np.maximum(area, 1)

        # The pairs of a person and a cell of its square.
        window = np.arange(-self.offset_radius, self.offset_radius)
        x, y = (centers.T.astype(int)[..., None] + window)[..., None, :]
        y = y.swapaxes(1, 2)
        cells = y * w + x
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        persons = np.nonzero(inside)[0]
        cells, slots, counts = np.unique(
            cells[inside], return_inverse=True, return_counts=True
        )

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

    def batch_decode(
        self, heatmaps: Tensor, offsets: Tensor, check_finite: bool = True
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """Read the people with the highest centres off each image's maps.

        The map of centres is interpolated to the size of the input. Its
        pixels that are positive and the highest in the square of
        ``decode_nms_kernel`` around them (all of them on a plateau) have
        their value for a score, the others 0. Offsets are read at the cell
        that a centre is in, without interpolation. M is
        ``decode_max_instances`` or the number of pixels, if there are fewer.

        Args:
            heatmaps (Tensor): Of shape (B, K + 1, H, W), the centre last. H
                and W may be other than ``heatmap_size``.
            offsets (Tensor): Of shape (B, 2K, H, W), cells.
            check_finite (bool): Whether to refuse maps that are not finite,
                for which the CPU waits for the device. Without it, their
                people are arbitrary. Defaults to ``True``.

        Returns:
            tuple[Tensor, Tensor, Tensor]: Of float32, or float64 if the maps
            are.

            - keypoints: Of shape (B, M, K, 2), px of the input.
            - centers: Of shape (B, M, 2), px of the input.
            - scores: The values of the interpolated map of centres, of shape
              (B, M), in descending order. Where an image has fewer than M
              centres, the last scores are 0, at arbitrary places.

        Raises:
            ValueError: If the shapes do not fit or a map is not finite.
        """
        b, channels, h, w = _check_shapes(heatmaps, offsets)
        if check_finite:
            self.check_finite(heatmaps, offsets)
        dtype = torch.promote_types(heatmaps.dtype, torch.float32)
        h, w = h * self.stride, w * self.stride
        center = F.interpolate(
            heatmaps[:, -1:].to(dtype),
            size=(h, w),
            mode='bilinear',
            align_corners=False,
        ).relu()
        size = self.decode_nms_kernel
        highest = F.max_pool2d(center, size, stride=1, padding=size // 2)
        peaks = center * (center == highest)

        number = min(self.decode_max_instances, h * w)
        scores, pixels = peaks.flatten(1).topk(number)
        x, y = pixels % w, pixels.div(w, rounding_mode='floor')
        centers = torch.stack([x, y], dim=-1)
        # A centre is never outside, so neither is its cell.
        x, y = centers.div(self.stride, rounding_mode='floor').unbind(-1)
        cells = (y * offsets.shape[3] + x)[:, None]
        cells = cells.expand(-1, offsets.shape[1], -1)
        at_centers = offsets.flatten(2).gather(2, cells).to(dtype)
        at_centers = at_centers.view(b, channels - 1, 2, number)
        centers = centers.to(dtype)
        keypoints = centers[:, :, None] - self.stride * at_centers.permute(
            0, 3, 1, 2
        )
        return keypoints, centers, scores

    @staticmethod
    def check_finite(heatmaps: Tensor, offsets: Tensor) -> None:
        """Refuse maps that are not finite.

        Args:
            heatmaps (Tensor): Of shape (B, K + 1, H, W).
            offsets (Tensor): Of shape (B, 2K, H, W).

        Raises:
            ValueError: If a map holds NaN or infinity; it names the map.
        """
        if all_finite(heatmaps, offsets):
            return
        for name, maps in (('heatmap', heatmaps), ('offset map', offsets)):
            for image, channel in (~maps.isfinite()).any(3).any(2).nonzero():
                raise ValueError(
                    f'{name} {int(channel)} of image {int(image)} holds NaN '
                    'or infinity'
                )

    def decode(
        self, heatmaps: Tensor, offsets: Tensor
    ) -> Tuple[Tensor, Tuple[Tensor, None]]:
        """Read the people off the maps of one image.

        Args:
            heatmaps (Tensor): Of shape (K + 1, H, W), the centre last. H and
                W may be other than ``heatmap_size``.
            offsets (Tensor): Of shape (2K, H, W), cells.

        Returns:
            tuple: In the form of MMPose's ``SPR``.

            - keypoints (Tensor): Of shape (N, K, 2), px of the input, of
              those whose score is at least ``decode_thr``; of the best one
              if there are none.
            - scores (tuple): The scores of the centres (Tensor), of shape
              (N,) and in descending order, and ``None`` for those of
              keypoints.

        Raises:
            ValueError: If the shapes do not fit or a map is not finite.
        """
        keypoints, _, scores = self.batch_decode(heatmaps[None], offsets[None])
        kept = scores[0] >= self.decode_thr
        kept[0] = True
        return keypoints[0][kept], (scores[0][kept], None)


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


def _inside(points: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Which of the points (..., 2) are in the area of a size [w, h]."""
    return ((points >= 0) & (points < size)).all(axis=-1)


def _draw(
    heatmaps: np.ndarray,
    weights: np.ndarray,
    channels: Union[int, np.ndarray],
    points: np.ndarray,
    sigma: float,
) -> None:
    """Add Gaussians at points (P, 2) to the maps (C, H, W).

    ``channels`` (P,) or one for all says to which map. The weights (1, H, W)
    become 1 where something is drawn.
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


def all_finite(heatmaps: Tensor, offsets: Tensor) -> Tensor:
    """Whether no map holds NaN or infinity, without waiting: 0-dim bool."""
    return heatmaps.isfinite().all() & offsets.isfinite().all()


def _check_shapes(heatmaps: Tensor, offsets: Tensor) -> torch.Size:
    """The shape of heatmaps that fit the offsets."""
    shape = heatmaps.shape
    if len(shape) != 4 or offsets.shape != (
        shape[0],
        2 * (shape[1] - 1),
        *shape[2:],
    ):
        raise ValueError(
            'expected heatmaps of shape (B, K + 1, H, W) and offsets of '
            f'shape (B, 2K, H, W), got {tuple(shape)} and '
            f'{tuple(offsets.shape)}'
        )
    return shape
