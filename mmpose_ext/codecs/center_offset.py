"""Heatmaps of keypoints and centres, and offsets from a centre's cells."""

from typing import Optional, Tuple

import numpy as np
import torch
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.registry import KEYPOINT_CODECS
from torch import Tensor

from ..arguments import each, fraction, non_negative, positive, positive_int
from .center_offset_targets import (
    draw_gaussians,
    is_inside,
    select_people,
    write_offsets,
)
from .center_search import (
    check_all_finite,
    check_shapes,
    find_centers,
    read_poses,
)


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
            keypoints_visible (np.ndarray, optional): Of shape (N, K), above
                0 where labelled. Defaults to ``None``, all are.
            area (np.ndarray, optional): Areas of the people's masks (N,),
                px^2 of the input. Defaults to ``None``, 0.53 times the area
                of the box around the labelled keypoints (MMPose's datasets
                estimate it like this from an annotated box).
            bbox (np.ndarray, optional): Boxes (N, 4), left, top, right,
                bottom, or their corners (N, 4, 2), px of the input. Defaults
                to ``None``: without a labelled keypoint, no centre.
            iscrowd (np.ndarray, optional): Which annotations are crowd
                regions (N,). Defaults to ``None``, none is.
            flip_direction (str, optional): ``'horizontal'`` if image and
                keypoints have been mirrored, see the class. Defaults to
                ``None``, they have not.

        Returns:
            dict: The items listed at the class.

        Raises:
            ValueError: If a shape does not fit ``keypoints``, or an area or
                a labelled keypoint is not finite.
        """
        people = select_people(
            keypoints, keypoints_visible, area, bbox, iscrowd, self.min_area
        )
        joints = self._to_cells(people.keypoints, flip_direction)
        centers = self._to_cells(people.centers, flip_direction)
        drawn = people.labelled & is_inside(joints, self.heatmap_size)
        chosen = people.has_center & is_inside(centers, self.heatmap_size)
        heatmaps, weights = self._draw(joints, drawn, centers[chosen])
        offsets, offset_weights = write_offsets(
            *(a[chosen] for a in (joints, drawn, centers, people.area)),
            self.heatmap_size,
            self.offset_radius,
        )
        valid = people.labelled & is_inside(people.keypoints, self.input_size)
        return dict(
            heatmaps=heatmaps,
            heatmap_weights=weights,
            offsets=offsets,
            offset_weights=offset_weights,
            keypoint_labels=people.keypoints.astype(np.float32),
            keypoint_weights=valid.astype(np.float32),
            instance_areas=people.area.astype(np.float32),
        )

    def _to_cells(
        self, points: np.ndarray, flip_direction: Optional[str]
    ) -> np.ndarray:
        """Points (..., 2) on the maps; see the class about flips."""
        if flip_direction not in (None, 'horizontal'):
            raise ValueError(
                'flip_direction must be horizontal or None, got '
                f"'{flip_direction}'"
            )
        shift = self.stride - 1 if flip_direction else 0
        return (points - (shift, 0)) / self.stride

    def _draw(
        self, joints: np.ndarray, drawn: np.ndarray, centers: np.ndarray
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Heatmaps (K + 1, H, W) and their weights (1, H, W)."""
        k, (w, h) = joints.shape[1], self.heatmap_size
        heatmaps = np.zeros((k + 1, h, w), np.float32)
        weights = np.full((1, h, w), self.background_weight, np.float32)
        channels, (center_sigma, sigma) = np.nonzero(drawn)[1], self.sigma
        draw_gaussians(heatmaps, weights, channels, joints[drawn], sigma)
        draw_gaussians(heatmaps, weights, k, centers, center_sigma)
        return heatmaps, weights

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
            tuple[Tensor, Tensor, Tensor]: Keypoints (B, M, K, 2) and centres
            (B, M, 2), px of the input; scores (B, M) in descending order, the
            last of which are 0, at arbitrary places, where an image has fewer
            than M centres. Of float32, or float64 if the maps are.

        Raises:
            ValueError: If the shapes do not fit or a map is not finite.
        """
        check_shapes(heatmaps, offsets)
        if check_finite:
            check_all_finite(heatmaps, offsets)
        dtype = torch.promote_types(heatmaps.dtype, torch.float32)
        centers, scores = find_centers(
            heatmaps[:, -1:].to(dtype),
            self.stride,
            self.decode_nms_kernel,
            self.decode_max_instances,
        )
        poses = read_poses(offsets.to(dtype), centers, self.stride)
        return poses, centers.to(dtype), scores

    def decode(
        self, heatmaps: Tensor, offsets: Tensor
    ) -> Tuple[Tensor, Tuple[Tensor, None]]:
        """Read the people off the maps of one image.

        Args:
            heatmaps (Tensor): Of shape (K + 1, H, W), as in a batch.
            offsets (Tensor): Of shape (2K, H, W), cells.

        Returns:
            tuple: Like MMPose's ``SPR``: keypoints (N, K, 2), px of the
            input, of those whose score is at least ``decode_thr``, or of the
            best one; their scores (N,), in descending order, with ``None``
            for those of keypoints.

        Raises:
            ValueError: If the shapes do not fit or a map is not finite.
        """
        keypoints, _, scores = self.batch_decode(heatmaps[None], offsets[None])
        kept = scores[0] >= self.decode_thr
        kept[0] = True
        return keypoints[0][kept], (scores[0][kept], None)
