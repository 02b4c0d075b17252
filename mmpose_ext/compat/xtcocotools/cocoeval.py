"""COCO's evaluation; a module like ``xtcocotools.cocoeval``."""

import warnings
from itertools import chain
from typing import List, Optional, Sequence, Union

import numpy as np
from faster_coco_eval.core.cocoeval import Params as _Params
from faster_coco_eval.core.faster_eval_api import COCOeval_faster

from .coco import _COCO

__all__ = ['COCOeval', 'Params']

_PARTS = ('foot', 'face', 'lefthand', 'righthand')
# Where the keypoints of each kind are, and their score.
_FIELDS = {
    f'keypoints_{part}': ([f'{part}_kpts'], f'{part}_score') for part in _PARTS
}
_FIELDS['keypoints_wholebody'] = (
    ['keypoints', *(f'{part}_kpts' for part in _PARTS)],
    'wholebody_score',
)


class Params(_Params):
    """faster-coco-eval's parameters; ``useSegm`` changes nothing in them."""

    useSegm = None


class COCOeval(COCOeval_faster):
    """faster-coco-eval's evaluation, with the kinds of xtcocotools'.

    Parts of the body are brought into the form of plain keypoints, and
    without areas they are estimated from boxes, in copies of the
    annotations.

    Args:
        cocoGt (COCO): The annotations.
        cocoDt (COCO): The results.
        iouType (str): ``'bbox'``, ``'segm'``, ``'keypoints'``, the same plus
            ``'_crowd'``, ``'_body'``, ``'_foot'``, ``'_face'``,
            ``'_lefthand'``, ``'_righthand'`` or ``'_wholebody'``. Defaults to
            ``'keypoints'``.
        sigmas (Sequence[float], optional): Of K keypoints. Defaults to
            ``None``, COCO's of 17.
        use_area (bool): Whether to use the annotations' areas instead of 0.53
            of their boxes. Defaults to ``True``.
    """

    def __init__(
        self,
        cocoGt: Optional[_COCO] = None,
        cocoDt: Optional[_COCO] = None,
        iouType: str = 'keypoints',
        sigmas: Optional[Sequence[float]] = None,
        use_area: bool = True,
    ):
        keys, self.score_key = _FIELDS.get(iouType, (['keypoints'], 'score'))
        kind = 'keypoints' if iouType.startswith('keypoints') else iouType
        if iouType == 'keypoints_crowd':
            kind = iouType
        super().__init__(iouType=kind, print_function=print)
        self.params = Params(kind, sigmas)
        if cocoGt is None or cocoDt is None:
            return
        truth = [dict(ann) for ann in cocoGt.dataset.get('annotations', [])]
        found = [dict(ann) for ann in cocoDt.dataset.get('annotations', [])]
        for ann in truth:
            if not use_area or 'area' not in ann:
                ann['area'] = ann['bbox'][2] * ann['bbox'][3] * 0.53
        if kind.startswith('keypoints'):
            visible = _join(truth, keys)
            if kind == 'keypoints':
                for ann, number in zip(truth, visible):
                    ann['num_keypoints'] = number
            visible = _join(found, keys)
            found = [ann for ann, number in zip(found, visible) if number]
        found = _sort(found, self.score_key)
        self.cocoGt = _index(cocoGt, truth)
        self.cocoDt = _index(cocoGt, found)
        self.params.imgIds = sorted(cocoGt.getImgIds())
        self.params.catIds = sorted(cocoGt.getCatIds())

    def computeOks(self, imgId: int, catId: int) -> Union[list, np.ndarray]:
        """Object keypoint similarity of D results and G annotations.

        Args:
            imgId (int): The image.
            catId (int): The category.

        Returns:
            np.ndarray: (D, G), the results with the highest scores first.
        """
        p = self.params
        gts, dts = (
            [
                a
                for a in c.imgToAnns.get(imgId, ())
                if a['category_id'] == catId
            ]
            for c in (self.cocoGt, self.cocoDt)
        )
        dts = dts[: p.maxDets[-1]]
        if not gts or not dts:
            return []
        found = np.array([dt['keypoints'] for dt in dts])
        scale = (np.asarray(p.kpt_oks_sigmas) * 2) ** 2
        oks = np.empty((len(dts), len(gts)))
        for j, gt in enumerate(gts):
            x, y, v = gt['keypoints'].reshape(-1, 3).T
            if (v > 0).any():
                dx, dy = found[:, 0::3] - x, found[:, 1::3] - y
            else:
                # How far they are from twice the box.
                x, y, w, h = gt['bbox']
                dx, dy = (
                    np.maximum(0, start - size - at)
                    + np.maximum(0, at - (start + size * 2))
                    for start, size, at in (
                        (x, w, found[:, 0::3]),
                        (y, h, found[:, 1::3]),
                    )
                )
                v = np.ones(len(scale))
            e = (dx**2 + dy**2) / scale / (gt['area'] + np.spacing(1)) / 2
            e = np.compress(v > 0, e, axis=1)
            oks[:, j] = np.exp(-e).sum(axis=1) / e.shape[1]
        return oks


def _join(annotations: List[dict], keys: List[str]) -> List[int]:
    """Join the keypoints of several parts; the number of those seen."""
    joined = np.array(
        [
            list(chain.from_iterable(ann[key] for key in keys))
            for ann in annotations
        ],
        float,
    ).reshape(len(annotations), -1)
    for ann, keypoints in zip(annotations, joined):
        ann['keypoints'] = keypoints
    return (joined[:, 2::3] > 0).sum(axis=1).tolist()


def _sort(found: List[dict], score_key: str) -> List[dict]:
    """Sort results by their scores, those without a number at the end."""
    if any(score_key not in ann for ann in found):
        warnings.warn(
            f"'{score_key}' not found, use 'score' instead.", stacklevel=3
        )
    for ann in found:
        ann['score'] = ann.get(score_key, ann['score'])
    order = np.argsort([-ann['score'] for ann in found], kind='stable')
    return [found[i] for i in order]


def _index(truth: _COCO, annotations: List[dict]) -> _COCO:
    for i, ann in enumerate(annotations, 1):
        ann['id'] = i
    keep = ('images', 'categories')
    content = {key: truth.dataset.get(key, []) for key in keep}
    return _COCO(dict(content, annotations=annotations))
