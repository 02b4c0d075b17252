"""Grids of points around keypoints, and how near they are to persons."""

from typing import Dict, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.registry import KEYPOINT_CODECS
from torch import Tensor

from ..arguments import each, one_of, positive, positive_int
from ..checks.datasets import load_metainfo
from .expansion_grid import RULES, ExpansionGrid

Array = Union[np.ndarray, Tensor]


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
    ``encode``. The work is done by :attr:`grid`, in tensors.

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
        sigmas (Sequence[float], optional): The dataset's standard deviation
            s_k of each keypoint. Defaults to ``None``, those of ``metainfo``.
        ksize (int): Points of a window along an axis, odd. Defaults to 11.
        scale_by_sigma (bool): Whether the spacing is ``s_k / min(s)`` px
            rather than 1 px for every keypoint. Defaults to ``True``.
        metainfo (str | dict, optional): The dataset's metainfo as in its
            config, or the path of its file, such as MMPose's
            ``'configs/_base_/datasets/crowdpose.py'``. Defaults to ``None``,
            where ``sigmas`` are given.

    Attributes:
        spacing (np.ndarray): Distance of neighbours in the grid of each
            keypoint, (K,), px of the network input.
        grid (ExpansionGrid): The same for tensors alone.

    Raises:
        ValueError: If an argument is out of its range, neither ``sigmas``
            nor ``metainfo`` give any or both are given, or arrays do not fit
            together.
    """

    def __init__(
        self,
        sigmas: Optional[Sequence[float]] = None,
        ksize: int = 11,
        scale_by_sigma: bool = True,
        metainfo: Union[str, dict, None] = None,
    ):
        super().__init__()
        if sigmas is None:
            sigmas = _sigmas_of(metainfo)
        elif metainfo is not None:
            raise ValueError(
                'either sigmas or metainfo must be given, got both: '
                f'{sigmas} and {metainfo}'
            )
        self.sigmas = np.array(each(positive, 'sigmas', sigmas), dtype=float)
        self.ksize = positive_int('ksize', ksize)
        if self.ksize % 2 != 1:
            raise ValueError(f'ksize must be odd, got {ksize}')
        self.scale_by_sigma = one_of(
            'scale_by_sigma', scale_by_sigma, (True, False)
        )
        self.spacing = np.ones_like(self.sigmas)
        if scale_by_sigma:
            self.spacing = self.sigmas / self.sigmas.min()
        self.grid = ExpansionGrid(self.sigmas, self.spacing, self.ksize)

    def expand(
        self, keypoints: Array, scale: Union[float, Array] = 1.0
    ) -> Array:
        """Lay the grids (..., S, S, K, 2) around keypoints (..., K, 2), px."""
        return _like(keypoints, self.grid.points(_tensor(keypoints), scale))

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
            gt_keypoints (Array): Persons, of shape (..., G, K, 2), likewise.
            gt_visible (Array): Of shape (..., G, K), above 0 where labelled.
            gt_areas (Array): Of shape (..., G), in the same px squared.
            scale (float | Array): See the class. Defaults to 1.0.
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
        one_of('match', match, RULES)
        arrays = keypoints, gt_keypoints, gt_visible, gt_areas
        found = self.grid.match(*map(_tensor, arrays), scale, match)
        return {
            name: _like(keypoints, tensor)
            for name, tensor in found._asdict().items()
        }

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
            scale (float | Array): See the class. Defaults to 1.0.

        Returns:
            tuple[Array, Array]: The chosen points, (..., K, 2), px, and their
            values, (..., K).
        """
        points, values = self.grid.best_points(
            _tensor(maps), _tensor(keypoints), scale
        )
        return _like(keypoints, points), _like(keypoints, values)


def _sigmas_of(metainfo: Union[str, dict, None]) -> Sequence[float]:
    if isinstance(metainfo, str):
        metainfo = dict(from_file=metainfo)
    sigmas = []
    if metainfo is not None:
        sigmas = load_metainfo(None, metainfo, 'metainfo')['sigmas']
    if not len(sigmas):
        raise ValueError(
            'sigmas must be given where there is no metainfo with sigmas, '
            'got None'
        )
    # MMPose has rounded them to single precision; back to what was written.
    return [float(str(sigma)) for sigma in sigmas]


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
