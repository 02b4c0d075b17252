"""Grids of points around keypoints, and how near they are to persons."""

from typing import Dict, NamedTuple, Sequence, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.registry import KEYPOINT_CODECS
from torch import Tensor

from ..arguments import each, one_of, positive, positive_int

Array = Union[np.ndarray, Tensor]

# How a joint's similarities in the window become one number: what is done
# along each of its two axes.
_MATCHES = dict(best=torch.amax, sum=torch.sum)


class _Constants(NamedTuple):
    steps: Tensor  # (S,), whole numbers around 0
    spacing: Tensor  # (K,)
    sigmas: Tensor  # (K,)


@KEYPOINT_CODECS.register_module()
class KeypointExpansion(BaseKeypointCodec):
    """Expand each keypoint into a grid of S x S points around it.

    The keypoint expansion maps of "Learning Local-Global Contextual
    Adaptation for Multi-Person Pose Estimation" (LOGO-CAP,
    https://arxiv.org/abs/2109.03622), section 2 and Algorithm 1 of its
    supplementary material. The middle of a grid is the keypoint itself, rows
    run along y and columns along x, and neighbours are ``s_k / min(s)`` px
    apart, s being the COCO sigmas: 1 px for an eye, 4.28 px for a hip. (The
    algorithm's steps -5 to 4 are no 11 x 11 grid; they are read as -5 to 5.)

    A point is judged by its object keypoint similarity with a person's joint,
    ``exp(-d^2 / max(2 (2 s_k)^2 area, 1e-6))``, which is 0 where the joint is
    not labelled.

    Everything may be numpy arrays or torch tensors; what comes out is of the
    kind, dtype and device of ``keypoints``; no gradients flow through
    ``encode``.

    Note:

        - predicted pose number: M
        - ground truth person number: G
        - keypoint number: K
        - points of a window along an axis: S, the ``ksize``
        - any number of batch dimensions: ...
        - ``scale``: px of the coordinates per px of the network input, of
          which the grid is made; a number, or a value for each pose in a
          shape that broadcasts to (...) of its (..., K, 2)

    Encoded:

        - oks_maps (..., M, K, S, S): similarity of each point with the
          joint of the person that the pose is matched with.
        - person_maps (..., M, S, S): their mean over this person's labelled
          joints.
        - gt_index (..., M): this person, an integer; -1 where there is none
          with a labelled joint, and the maps are then 0.

    Args:
        sigmas (Sequence[float]): The dataset's standard deviation s_k of
            each keypoint.
        ksize (int): Points of a window along an axis, odd. Defaults to 11.
        scale_by_sigma (bool): Whether the spacing is ``s_k / min(s)`` px
            rather than 1 px for every keypoint. Defaults to ``True``.

    Attributes:
        spacing (np.ndarray): Distance of neighbours in the grid of each
            keypoint, (K,), px of the network input.

    Raises:
        ValueError: If ``ksize`` is not odd and positive, ``sigmas`` are not
            positive numbers, or the arrays of a method do not fit together.
    """

    def __init__(
        self,
        sigmas: Sequence[float],
        ksize: int = 11,
        scale_by_sigma: bool = True,
    ):
        super().__init__()
        self.sigmas = np.array(each(positive, 'sigmas', sigmas), dtype=float)
        self.ksize = positive_int('ksize', ksize)
        if self.ksize % 2 != 1:
            raise ValueError(f'ksize must be odd, got {ksize}')
        self.scale_by_sigma = one_of(
            'scale_by_sigma', scale_by_sigma, (True, False)
        )
        self.spacing = (
            self.sigmas / self.sigmas.min()
            if scale_by_sigma
            else np.ones_like(self.sigmas)
        )
        self._copies = {}

    def expand(
        self, keypoints: Array, scale: Union[float, Array] = 1.0
    ) -> Array:
        """Lay the grids.

        Args:
            keypoints (Array): (x, y) of shape (..., K, 2), px.
            scale (float | Array): px of ``keypoints`` per px of the network
                input. Defaults to 1.0.

        Returns:
            Array: (x, y) of shape (..., S, S, K, 2), px.
        """
        poses = self._poses(keypoints)
        x, y = self._lines(poses, scale).unbind(-1)
        points = torch.broadcast_tensors(x[..., None, :, :], y[..., None, :])
        return _like(keypoints, torch.stack(points, dim=-1))

    @torch.no_grad()
    def encode(
        self,
        keypoints: Array,
        gt_keypoints: Array,
        gt_visible: Array,
        gt_areas: Array,
        scale: Union[float, Array] = 1.0,
        match: str = 'best',
    ) -> Dict[str, Array]:
        """Match poses with persons, and compare their grids with them.

        Args:
            keypoints (Array): Poses, (x, y) of shape (..., M, K, 2), px.
            gt_keypoints (Array): Persons, (x, y) of shape (..., G, K, 2), in
                the same px.
            gt_visible (Array): Of shape (..., G, K); a joint is labelled
                where it is above 0.
            gt_areas (Array): Of shape (..., G), in square px of the same
                kind.
            scale (float | Array): px of ``keypoints`` per px of the network
                input. Defaults to 1.0.
            match (str): Which person a pose is matched with (the first one
                of equals). ``'best'``: the one with the highest mean over
                its labelled joints of the best similarity in the window,
                the rule of training. ``'sum'``: the one with the highest sum
                of similarities over window and joints, the rule of the
                paper's upper bound. Persons without a labelled joint are
                never matched. Defaults to ``'best'``.

        Returns:
            dict: ``oks_maps``, ``person_maps`` and ``gt_index``, see above.
        """
        one_of('match', match, _MATCHES)
        poses = self._poses(keypoints)
        persons, visible, areas = (
            _tensor(array).to(poses)
            for array in (gt_keypoints, gt_visible, gt_areas)
        )
        _check_persons(poses, persons, visible, areas)
        # Someone without joints, to be matched where there is nobody else.
        persons = F.pad(persons, (0, 0, 0, 0, 0, 1))
        labelled = F.pad(visible > 0, (0, 0, 0, 1))
        areas = F.pad(areas, (0, 1))

        sigmas = self._constants(poses).sigmas
        variance = (8 * sigmas**2 * areas[..., None]).clamp(min=1e-6)
        # What is not labelled is infinitely far away: its similarity is 0.
        persons = persons.masked_fill(~labelled[..., None], torch.inf)
        # The similarity is a product of one part for a point's column and
        # one for its row, so that only S of these are needed, not S * S:
        # (..., M, S, G + 1, K, 2).
        lines = self._lines(poses, scale)[..., None, :, :]
        parts = lines - persons[..., None, None, :, :, :]
        parts = parts.square_().div_(variance[..., None, None, :, :, None])
        parts = parts.neg_().exp_()

        # So are the maximum over the window and the sum.
        scores = _MATCHES[match](parts, dim=-4).prod(-1).sum(-1)
        number = labelled.sum(-1)
        if match == 'best':
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
        encoded = dict(
            oks_maps=oks_maps,
            person_maps=oks_maps.sum(-3) / number[..., None, None],
            gt_index=index.masked_fill(best < 0, -1),
        )
        return {k: _like(keypoints, array) for k, array in encoded.items()}

    def decode(
        self,
        maps: Array,
        keypoints: Array,
        scale: Union[float, Array] = 1.0,
    ) -> Tuple[Array, Array]:
        """Move each keypoint to the point of its grid with the highest value.

        Where several points have it, the keypoint stays if its own is among
        them; else it is the first of them, row by row.

        Args:
            maps (Array): Values of the points, (..., K, S, S).
            keypoints (Array): (x, y) of shape (..., K, 2), px.
            scale (float | Array): px of ``keypoints`` per px of the network
                input. Defaults to 1.0.

        Returns:
            tuple:

            - keypoints (Array): The chosen points, (..., K, 2), px.
            - values (Array): Their values, (..., K).
        """
        poses = self._poses(keypoints)
        values = _tensor(maps).to(poses.device)
        expected = (*poses.shape[:-1], self.ksize, self.ksize)
        if values.shape != expected:
            raise ValueError(
                f'expected maps of shape {expected} for keypoints of shape '
                f'{tuple(poses.shape)}, got {tuple(values.shape)}'
            )
        values = values.flatten(-2)
        highest, index = values.max(dim=-1)
        middle = self.ksize**2 // 2
        index = index.where(values[..., middle] != highest, middle)
        steps = torch.stack([index % self.ksize, index // self.ksize], dim=-1)
        steps = (steps - self.ksize // 2) * self._scaled(poses, scale)[
            ..., None
        ]
        return _like(keypoints, poses + steps), _like(keypoints, highest)

    def _poses(self, keypoints: Array) -> Tensor:
        poses = _tensor(keypoints)
        if poses.shape[-2:] != (len(self.sigmas), 2):
            raise ValueError(
                f'expected keypoints of shape (..., {len(self.sigmas)}, 2), '
                f'as there are {len(self.sigmas)} sigmas, got '
                f'{tuple(poses.shape)}'
            )
        return poses

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

    def _scaled(self, poses: Tensor, scale: Union[float, Array]) -> Tensor:
        """The grids' spacing (..., K) in px of the poses."""
        spacing = self._constants(poses).spacing
        if isinstance(scale, (int, float)):
            return scale * spacing
        scale = torch.as_tensor(scale, dtype=poses.dtype, device=poses.device)
        return scale[..., None] * spacing

    def _lines(self, poses: Tensor, scale: Union[float, Array]) -> Tensor:
        """The x of all columns and the y of all rows, (..., S, K, 2)."""
        steps = self._constants(poses).steps[:, None]
        steps = steps * self._scaled(poses, scale)[..., None, :]
        return poses[..., None, :, :] + steps[..., None]


def _tensor(array: Array) -> Tensor:
    """A tensor of floating-point numbers."""
    if not isinstance(array, Tensor):
        array = np.asarray(array)
        dtype = np.result_type(array, np.float32)
        # A copy: torch refuses or warns of some arrays' memory.
        array = torch.from_numpy(np.array(array, dtype=dtype, order='C'))
    return array if array.is_floating_point() else array.float()


def _like(array: Array, result: Tensor) -> Array:
    return result if isinstance(array, Tensor) else result.numpy()


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
