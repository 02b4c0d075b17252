"""How good poses would be if each keypoint moved to its best near point."""

from numbers import Integral
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from mmengine.logging import print_log
from mmpose.registry import METRICS

from ..arguments import each, one_of, positive_int
from ..codecs import KeypointExpansion
from ..codecs.expansion_grid import RULES
from ..errors import InputError
from .empty_safe_coco_metric import EmptySafeCocoMetric


@METRICS.register_module()
class ExpansionUpperBound(EmptySafeCocoMetric):
    """COCO AP, and its empirical upper bound by keypoint expansion.

    The bound of "Learning Local-Global Contextual Adaptation for
    Multi-Person Pose Estimation" (LOGO-CAP), section 2 and Algorithm 1 of its
    supplementary material: around each predicted keypoint lies a window of
    k x k points (:class:`mmpose_ext.codecs.KeypointExpansion`). Each pose is
    matched with a person of the ground truth, each of its keypoints moves to
    the point of its window that is most similar to this person's, and what
    comes out is evaluated like any other result. The difference to the plain
    AP is what the best refinement inside these windows could gain.

    It works on the predictions of any model, bottom-up or top-down. Scores
    stay as they are; so do keypoints that the matched person has no label
    for, and all poses of images without a person to match, which crowds and
    persons without a labelled keypoint are not. A window of 1 x 1 gives the
    plain metrics.

    Both evaluations are of the same instances: NMS takes place once, with the
    predicted poses, and the poses that it leaves are moved. (Moved poses are
    not suppressed again, though several may now meet the same person; COCO's
    evaluation counts all but the best-scored of them as wrong in either
    case.)

    The ground truth is that of the evaluation: ``ann_file`` or, without one,
    the raw annotations of all samples together. The window is meant in px of
    the network input, the poses are in px of the image: the former have
    ``input_scale[0] / input_size[0]`` of the latter in each sample, whose
    scale is the same along x and y.

    Metrics: those of MMPose's ``CocoMetric`` under their names, and with
    ``upper_bound_k{K}/`` before them for each window, such as
    ``coco/upper_bound_k11/AP``.

    It takes the arguments of :class:`mmpose.evaluation.CocoMetric` too, of
    which ``outfile_prefix`` also names the files of the moved poses,
    ``{outfile_prefix}.upper_bound_k{K}.keypoints.json``.

    Args:
        ksizes (int | Sequence[int]): Points of a window along an axis, odd;
            several for several bounds. Defaults to 11.
        sigmas (Sequence[float], optional): The keypoints' standard
            deviations, for spacing and matching. Defaults to ``None``, those
            of the dataset.
        scale_by_sigma (bool): Whether the points of a keypoint are
            ``s_k / min(s)`` px apart rather than 1 px for every keypoint.
            Defaults to ``True``.
        match (str): The rule of matching, ``'sum'`` (the paper's) or
            ``'best'``; see :meth:`KeypointExpansion.encode`. Defaults to
            ``'sum'``.

    Raises:
        ValueError: If an argument is out of its range, ``format_only`` is
            set, or a sample lacks the scale of its input.
    """

    def __init__(
        self,
        *args,
        ksizes: Union[int, Sequence[int]] = 11,
        sigmas: Optional[Sequence[float]] = None,
        scale_by_sigma: bool = True,
        match: str = 'sum',
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        if self.format_only:
            raise ValueError(
                'an upper bound needs ground truth, so that format_only '
                'cannot be True'
            )
        one = isinstance(ksizes, Integral) or ksizes is None
        self.ksizes = tuple(
            each(positive_int, 'ksizes', [ksizes] if one else ksizes)
        )
        self.sigmas = sigmas
        self.scale_by_sigma = scale_by_sigma
        self.match = one_of('match', match, RULES)
        # Validate before inference.
        self._make_codecs([1.0] if sigmas is None else sigmas)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what the metrics need of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): As ``CocoMetric`` takes them, with
                ``input_size`` and ``input_scale``.

        Raises:
            InputError: If a sample lacks one of the two.
            ValueError: If the number of ``sigmas``, or of those in the
                dataset's metainfo, is not that of its keypoints.
        """
        number, sigmas = self.dataset_meta['num_keypoints'], self._sigmas
        if len(sigmas) != number:
            raise ValueError(
                f'expected one of the sigmas for each of {number} keypoints, '
                f'got {len(sigmas)}'
            )
        for sample in data_samples:
            scale = _input_scale(sample)
            super().process(data_batch, [sample])
            self.results[-1][0]['scale'] = scale

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Those of ``CocoMetric``, and the same of each window."""
        # CocoMetric makes one instance of each pose and keeps its ids only.
        self._scales = {_key(pred): pred['scale'] for pred, _ in results}
        return super().compute_metrics(results)

    def results2json(
        self, keypoints: Dict[int, list], outfile_prefix: str
    ) -> None:
        """Write the poses that NMS has left, and the best near them."""
        super().results2json(keypoints, outfile_prefix)
        for codec in self._make_codecs(self._sigmas):
            moved = {
                img_id: self._move(codec, img_id, instances)
                for img_id, instances in keypoints.items()
            }
            super().results2json(moved, _prefix(outfile_prefix, codec.ksize))

    def _do_python_keypoint_eval(self, outfile_prefix: str) -> list:
        """(name, value) of all metrics; the files are there."""
        metrics = super()._do_python_keypoint_eval(outfile_prefix)
        for ksize in self.ksizes:
            print_log(
                f'Upper bound, windows of {ksize} x {ksize} points:', 'current'
            )
            metrics += [
                (f'upper_bound_k{ksize}/{name}', value)
                for name, value in super()._do_python_keypoint_eval(
                    _prefix(outfile_prefix, ksize)
                )
            ]
        return metrics

    @property
    def _sigmas(self) -> Sequence[float]:
        if self.sigmas is None:
            return self.dataset_meta['sigmas']
        return self.sigmas

    def _make_codecs(self, sigmas: Sequence[float]) -> List[KeypointExpansion]:
        return [
            KeypointExpansion(sigmas, ksize, self.scale_by_sigma)
            for ksize in self.ksizes
        ]

    def _move(
        self, codec: KeypointExpansion, img_id: int, instances: List[dict]
    ) -> List[dict]:
        """The instances of an image with the best poses of their windows."""
        poses = np.array([i['keypoints'] for i in instances], dtype=float)
        scales = np.array([self._scales[_key(i)] for i in instances])
        categories = np.array([int(i['category_id']) for i in instances])
        for category in np.unique(categories):
            chosen = categories == category
            before = poses[chosen, :, :2]
            scale = scales[chosen]
            maps = codec.encode(
                before,
                *self._persons(img_id, category, poses.shape[1]),
                scale,
                self.match,
            )['oks_maps']
            poses[chosen, :, :2] = codec.decode(maps, before, scale)[0]
        return [
            dict(instance, keypoints=pose)
            for instance, pose in zip(instances, poses)
        ]

    def _persons(
        self, img_id: int, category: int, num_keypoints: int
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints, visibility and areas of an image's ground truth."""
        annotations = [
            a
            for a in self.coco.imgToAnns.get(img_id, [])
            if a['category_id'] == category
            and not a.get('iscrowd')
            and 'keypoints' in a
        ]
        joints = np.array([a['keypoints'] for a in annotations], dtype=float)
        joints = joints.reshape(-1, num_keypoints, 3)
        # As COCO's evaluation has them.
        areas = [
            a['area'] if self.use_area else 0.53 * np.prod(a['bbox'][2:])
            for a in annotations
        ]
        return joints[..., :2], joints[..., 2], np.array(areas, dtype=float)


def _input_scale(sample: dict) -> float:
    """px of the image per px of the network input."""
    for key in ('input_size', 'input_scale'):
        if key not in sample:
            raise InputError(
                f"ExpansionUpperBound needs '{key}' of each sample: "
                'PackPoseInputs must have input_size and input_scale in its '
                'meta_keys'
            )
    return float(sample['input_scale'][0] / sample['input_size'][0])


def _key(item: dict) -> Tuple[int, ...]:
    """Names the sample of a prediction, or of an instance of it."""
    # The id of a bottom-up sample is the list of its persons' ids.
    return (item['img_id'], *np.ravel(item['id']).tolist())


def _prefix(outfile_prefix: str, ksize: int) -> str:
    return f'{outfile_prefix}.upper_bound_k{ksize}'
