"""LOGO-CAP's keypoint expansion maps, in tensors.

Section 2 and Algorithm 1 of the supplementary material of "Learning
Local-Global Contextual Adaptation for Multi-Person Pose Estimation"
(https://arxiv.org/abs/2109.03622). What the points of a grid are and how they
are compared with persons is described at
:class:`~mmpose_ext.codecs.KeypointExpansion`.
"""

from typing import NamedTuple, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# The rules of matching: how a joint's similarities in the window become one
# number, by what is done along each of its two axes.
RULES = dict(best=torch.amax, sum=torch.sum)

Scale = Union[float, Tensor]


class MatchedMaps(NamedTuple):
    """Similarities of poses' grids with the persons they are matched with."""

    oks_maps: Tensor  # (..., M, K, S, S)
    person_maps: Tensor  # (..., M, S, S)
    gt_index: Tensor  # (..., M), whole numbers


class _Constants(NamedTuple):
    steps: Tensor  # (S,), whole numbers around 0
    spacing: Tensor  # (K,)
    sigmas: Tensor  # (K,)


class ExpansionGrid:
    """S x S points around each keypoint of poses (..., K, 2), px.

    ``sigmas`` and ``spacing`` are arrays (K,). A ``scale`` is in px of the
    poses per px of the network input; the rest is described at the codec.
    """

    def __init__(self, sigmas: np.ndarray, spacing: np.ndarray, ksize: int):
        self.sigmas = sigmas
        self.spacing = spacing
        self.ksize = ksize
        self._copies = {}

    def lines(self, poses: Tensor, scale: Scale = 1.0) -> Tensor:
        """The x of all columns and the y of all rows, (..., S, K, 2)."""
        self._check(poses)
        steps = self._constants(poses).steps[:, None]
        steps = steps * self._scaled_spacing(poses, scale)[..., None, :]
        return poses[..., None, :, :] + steps[..., None]

    def points(self, poses: Tensor, scale: Scale = 1.0) -> Tensor:
        """All points (..., S, S, K, 2), as Algorithm 1 returns them."""
        x, y = self.lines(poses, scale).unbind(-1)
        points = torch.broadcast_tensors(x[..., None, :, :], y[..., None, :])
        return torch.stack(points, dim=-1)

    @torch.no_grad()
    def match(
        self,
        poses: Tensor,
        persons: Tensor,
        visible: Tensor,
        areas: Tensor,
        scale: Scale = 1.0,
        rule: str = 'best',
    ) -> MatchedMaps:
        """Match poses with persons, and compare their grids with them.

        Poses (..., M, K, 2), persons (..., G, K, 2), whether their joints are
        visible (..., G, K), and their areas (..., G).
        """
        persons, visible, areas = (
            tensor.to(poses) for tensor in (persons, visible, areas)
        )
        self._check(poses)
        _check_persons(poses, persons, visible, areas)
        # A dummy person, so that max() has an entry.
        persons = F.pad(persons, (0, 0, 0, 0, 0, 1))
        labelled = F.pad(visible > 0, (0, 0, 0, 1))
        areas = F.pad(areas, (0, 1))

        parts = self._similarity(poses, persons, labelled, areas, scale)
        # The maximum over the window and the sum are products too.
        scores = RULES[rule](parts, dim=-4).prod(-1).sum(-1)
        number = labelled.sum(-1)
        if rule == 'best':
            scores = scores / number.clamp(min=1)[..., None, :]
        scores = scores.masked_fill(number[..., None, :] == 0, -1)
        best, index = scores.max(dim=-1)

        x, y = (
            parts.take_along_dim(index[..., None, None, None, None], dim=-3)
            .squeeze(-3)
            .transpose(-3, -2)  # (..., M, K, S, 2)
            .unbind(-1)
        )
        oks_maps = y[..., :, None] * x[..., None, :]
        number = number.take_along_dim(index, dim=-1).clamp(min=1)
        return MatchedMaps(
            oks_maps,
            oks_maps.sum(-3) / number[..., None, None],
            index.masked_fill(best < 0, -1),
        )

    def best_points(
        self, maps: Tensor, poses: Tensor, scale: Scale = 1.0
    ) -> Tuple[Tensor, Tensor]:
        """Move each keypoint to the point of its grid with the highest value.

        The maps are (..., K, S, S); returns points (..., K, 2) and values.
        """
        self._check(poses)
        expected = (*poses.shape[:-1], self.ksize, self.ksize)
        if maps.shape != expected:
            raise ValueError(
                f'expected maps of shape {expected} for keypoints of shape '
                f'{tuple(poses.shape)}, got {tuple(maps.shape)}'
            )
        values = maps.to(poses.device).flatten(-2)
        highest, index = values.max(dim=-1)
        middle = self.ksize**2 // 2
        index = index.where(values[..., middle] != highest, middle)
        steps = torch.stack([index % self.ksize, index // self.ksize], dim=-1)
        spacing = self._scaled_spacing(poses, scale)[..., None]
        return poses + (steps - self.ksize // 2) * spacing, highest

    def _similarity(
        self,
        poses: Tensor,
        persons: Tensor,
        labelled: Tensor,
        areas: Tensor,
        scale: Scale,
    ) -> Tensor:
        """Similarities of lines and joints, (..., M, S, G, K, 2).

        That of a point is the product of a part for its column and one for
        its row, so that only S of these are needed, not S * S.
        """
        sigmas = self._constants(poses).sigmas
        variance = (8 * sigmas**2 * areas[..., None]).clamp(min=1e-6)
        # What is not labelled is infinitely far away: its similarity is 0.
        persons = persons.masked_fill(~labelled[..., None], torch.inf)
        lines = self.lines(poses, scale)[..., None, :, :]
        parts = lines - persons[..., None, None, :, :, :]
        parts = parts.square_().div_(variance[..., None, None, :, :, None])
        return parts.neg_().exp_()

    def _constants(self, poses: Tensor) -> _Constants:
        """The constants in the dtype and on the device of the poses.

        They are copied there once, because the CPU waits for a device with
        each copy. A module's buffers would be rounded by its ``half()``.
        """
        kind = poses.device, poses.dtype
        if kind not in self._copies:
            radius = self.ksize // 2
            # What is made in inference mode cannot be trained with.
            with torch.inference_mode(False):
                self._copies[kind] = _Constants(
                    torch.arange(-radius, radius + 1).to(*kind),
                    torch.from_numpy(self.spacing).to(*kind),
                    torch.from_numpy(self.sigmas).to(*kind),
                )
        return self._copies[kind]

    def _scaled_spacing(self, poses: Tensor, scale: Scale) -> Tensor:
        """The grids' spacing (..., K) in px of the poses."""
        spacing = self._constants(poses).spacing
        if isinstance(scale, (int, float)):
            return scale * spacing
        scale = torch.as_tensor(scale, dtype=poses.dtype, device=poses.device)
        return scale[..., None] * spacing

    def _check(self, poses: Tensor) -> None:
        number = len(self.sigmas)
        if poses.shape[-2:] != (number, 2):
            raise ValueError(
                f'expected keypoints of shape (..., {number}, 2), as there '
                f'are {number} sigmas, got {tuple(poses.shape)}'
            )


def _check_persons(
    poses: Tensor, persons: Tensor, visible: Tensor, areas: Tensor
) -> None:
    """Raise unless the ground truth (..., G, K, 2) fits the poses."""
    batch = poses.shape[:-3]
    shape = (*batch, *persons.shape[-3:-2], *poses.shape[-2:])
    if poses.ndim < 3 or (
        (persons.shape, visible.shape, areas.shape)
        != (shape, shape[:-1], shape[:-2])
    ):
        raise ValueError(
            'expected keypoints of shape (..., M, K, 2), gt_keypoints of '
            '(..., G, K, 2), gt_visible of (..., G, K) and gt_areas of '
            '(..., G), got '
            + ', '.join(
                str(tuple(t.shape)) for t in (poses, persons, visible, areas)
            )
        )
