"""LOGO-CAP's search around the keypoints of initial poses.

Section 3 of the paper (https://arxiv.org/abs/2109.03622) adapts a local and a
global context to each other: features on the grid of points around a keypoint
(its expansion map), and the window of its heatmap around it.
"""

from typing import List

import numpy as np
import torch
from mmengine.structures import InstanceData
from mmpose.utils.tensor_utils import to_numpy
from torch import Tensor

from ...arguments import positive, positive_int
from ...codecs.expansion_grid import ExpansionGrid
from ..layers.keypoint_sampling import sample_codes, sample_windows
from ..layers.window_convolution import convolve_windows


class ContextSearch:
    """What surrounds the keypoints of poses (n, K, 2), px.

    The grid's points are the local context; the global one are windows that
    reach ``radius`` px, with Gaussian weights. In all methods, ``heatmaps``
    are (B, K + 1, h, w), the centres' last, with ``stride`` px per cell, and
    ``image`` is the index in B of each pose's image, (n,).
    """

    def __init__(
        self, grid: ExpansionGrid, stride: int, radius: int, sigma: float
    ):
        self.grid = grid
        self.stride = stride
        self.radius = positive_int('window_radius', radius)
        self.sigma = positive('window_sigma', sigma)

    def local_codes(
        self, embedding: Tensor, image: Tensor, poses: Tensor
    ) -> Tensor:
        """The embedding (B, E, h, w) at all points: (n, K * E, S, S)."""
        lines = self.grid.lines(poses).unbind(-1)
        x, y = (line.mT / self.stride for line in lines)
        span = (self.grid.ksize - 1) * float(self.grid.spacing.max())
        codes = sample_codes(embedding, image, x, y, span / self.stride)
        return codes.to(embedding.dtype)

    def adapt(
        self, heatmaps: Tensor, image: Tensor, poses: Tensor, local: Tensor
    ) -> Tensor:
        """Weighted windows (n, K, 2 radius + 1, 2 radius + 1) of heatmaps.

        They are convolved with how good the grids' points are, (n, K, S, S).
        """
        steps = window_steps(poses, self.radius)
        windows = sample_windows(
            heatmaps[:, :-1],
            image,
            poses[..., :1] + steps,
            poses[..., 1:] + steps,
            self.stride,
            (-(steps**2) / (2 * self.sigma**2)).exp(),
        )
        return convolve_windows(windows, local / self.grid.ksize**2)

    def values(self, heatmaps: Tensor, image: Tensor, poses: Tensor) -> Tensor:
        """The heatmaps' values (n, K) at the keypoints themselves."""
        x, y = poses[..., :1], poses[..., 1:]
        values = sample_windows(heatmaps[:, :-1], image, x, y, self.stride)
        return values[..., 0, 0]


def window_steps(like: Tensor, radius: int) -> Tensor:
    """The places of a window's pixels along an axis, from its middle."""
    return torch.arange(
        -radius, radius + 1, dtype=like.dtype, device=like.device
    )


def pack_poses(
    image: Tensor, poses: Tensor, scores: Tensor, number: int
) -> List[InstanceData]:
    """The poses (n, K, 2) of each of a number of images in MMPose's form.

    With the scores (n, K) of their keypoints; those whose mean is above 0.
    """
    image, poses, scores, means = to_numpy(
        (image, poses, scores, scores.mean(dim=1))
    )
    results = []
    for i in range(number):
        own = (image == i) & (means > 0)
        keypoints = poses[own]
        results.append(
            InstanceData(
                keypoints=keypoints,
                keypoint_scores=scores[own],
                bboxes=np.concatenate(
                    [keypoints.min(axis=1), keypoints.max(axis=1)], axis=1
                ),
                bbox_scores=means[own],
            )
        )
    return results
