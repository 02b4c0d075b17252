"""COCO's evaluation; a module like ``xtcocotools.cocoeval``."""

from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
from faster_coco_eval.core.coco import COCO as _COCO
from faster_coco_eval.core.cocoeval import Params as _Params
from faster_coco_eval.core.faster_eval_api import COCOeval_faster

from .coco import COCO

__all__ = ['COCOeval', 'Params']

_PARTS = ('foot', 'face', 'lefthand', 'righthand')
# Where keypoints are that are not those of the body, and their score.
_FIELDS = {
    f'keypoints_{part}': ((f'{part}_kpts',), f'{part}_score')
    for part in _PARTS
}
_FIELDS['keypoints_wholebody'] = (
    ('keypoints', *(f'{part}_kpts' for part in _PARTS)),
    'wholebody_score',
)
_KEPT = ('image_id', 'category_id', 'iscrowd', 'area', 'num_keypoints')


class Params(_Params):
    """Parameters, of which ``useSegm`` changes no other, as MMPose sets it."""

    useSegm = None


class COCOeval(COCOeval_faster):
    """faster-coco-eval's evaluation, of what xtcocotools' can evaluate.

    Annotations and results are copied, in the form that faster-coco-eval
    takes: keypoints of a part of the body become plain ones, and areas are
    those that count. ``params``, ``eval`` and ``stats`` are as in
    xtcocotools, ``evalImgs`` stays empty. Different from there, keypoints
    that are not numbers match nobody instead of anybody, and ids have to be
    whole numbers.

    Args:
        cocoGt (COCO): The annotations.
        cocoDt (COCO): The results, from its ``loadRes``.
        iouType (str): ``'bbox'``, ``'segm'``, ``'keypoints'``; or
            ``'keypoints_'`` and ``'crowd'``, ``'body'``, ``'foot'``,
            ``'face'``, ``'lefthand'``, ``'righthand'`` or ``'wholebody'``.
            Of the last five, a result's score is its ``'foot_score'`` and so
            on, or its ``'score'`` where it has none. Defaults to
            ``'keypoints'``.
        sigmas (Sequence[float], optional): Of K keypoints. Defaults to
            ``None``, COCO's of 17.
        use_area (bool): Whether to use the areas of the annotations, instead
            of 0.53 of their boxes. Defaults to ``True``.
    """

    def __init__(
        self,
        cocoGt: COCO,
        cocoDt: COCO,
        iouType: str = 'keypoints',
        sigmas: Optional[Sequence[float]] = None,
        use_area: bool = True,
    ):
        keys, self.score_key = _FIELDS.get(iouType, (('keypoints',), 'score'))
        plain = 'keypoints' in iouType and iouType != 'keypoints_crowd'
        kind = 'keypoints' if plain else iouType
        truth = _copy(cocoGt, kind, keys)
        for ann, original in zip(truth, cocoGt.anns.values()):
            ann['bbox'] = original.get('bbox')
            if not use_area or 'area' not in ann:
                ann['area'] = ann['bbox'][2] * ann['bbox'][3] * 0.53
            if kind == 'keypoints_crowd':
                # CrowdPose does not count all that are visible.
                ann['num_keypoints'] = original['num_keypoints']
        found = _copy(cocoDt, kind, keys)
        for ann, original in zip(found, cocoDt.anns.values()):
            key = self.score_key if self.score_key in original else 'score'
            ann['score'] = max(-np.inf, original[key])  # NaN is the lowest
        if 'keypoints' in kind:
            found = [ann for ann in found if ann['num_keypoints']]
        scores = [-ann['score'] for ann in found]
        order = np.lexsort((scores, [ann['image_id'] for ann in found]))
        found = [found[i] for i in order]

        super().__init__(
            _index(cocoGt, truth),
            _index(cocoGt, found),
            kind,
            print_function=print,
        )
        self.params = Params(kind)
        self.params.imgIds = sorted(cocoGt.getImgIds())
        self.params.catIds = sorted(cocoGt.getCatIds())
        if sigmas is not None:
            self.params.kpt_oks_sigmas = np.array(sigmas)

    def computeOks(self, imgId: int, catId: int) -> Union[list, np.ndarray]:
        """Object keypoint similarity of D results and G annotations.

        Args:
            imgId (int): The image.
            catId (int): The category.

        Returns:
            np.ndarray: (D, G), the results with the highest scores first.
        """
        truth, found = (
            [
                ann
                for ann in coco.imgToAnns.get(imgId, ())
                if ann['category_id'] == catId
            ]
            for coco in (self.cocoGt, self.cocoDt)
        )
        found = found[: self.params.maxDets[-1]]
        if not truth or not found:
            return []
        gt, dt = (
            np.array([a['keypoints'] for a in anns]).reshape(len(anns), -1, 3)
            for anns in (truth, found)
        )
        seen = gt[..., 2] > 0
        hidden = ~seen.any(axis=1)
        boxes = np.array([ann['bbox'] for ann in truth])[..., None]
        squares = 0
        for axis in (0, 1):
            at = dt[:, None, :, axis]
            off = at - gt[..., axis]  # (D, G, K)
            if hidden.any():
                # How far they are outside of twice the box.
                start, size = boxes[hidden, axis], boxes[hidden, axis + 2]
                off[:, hidden] = np.maximum(0, start - size - at)
                off[:, hidden] += np.maximum(0, at - (start + size * 2))
            squares = squares + off**2
        seen[hidden] = True
        areas = np.array([[ann['area']] for ann in truth]) + np.spacing(1)
        variances = (self.params.kpt_oks_sigmas * 2) ** 2
        each = np.exp(-squares / variances / areas / 2)
        return np.where(seen, each, 0).sum(axis=-1) / seen.sum(axis=-1)


def _copy(coco: COCO, kind: str, keys: Tuple[str, ...]) -> List[dict]:
    """Copy what all annotations have in common, and the shape of a kind."""
    originals = coco.anns.values()
    copies = [
        {key: ann[key] for key in _KEPT if key in ann} for ann in originals
    ]
    if kind == 'bbox':
        for ann, original in zip(copies, originals):
            ann['bbox'] = original['bbox']
    elif kind == 'segm':
        for ann, original in zip(copies, originals):
            ann['segmentation'] = coco.annToRLE(original)
    elif copies:
        points = np.hstack(
            [np.array([ann[key] for ann in originals], float) for key in keys]
        )
        seen = (points[:, 2::3] > 0).sum(axis=1).tolist()
        for ann, keypoints, number in zip(copies, points, seen):
            ann.update(keypoints=keypoints, num_keypoints=number)
    return copies


def _index(coco: COCO, annotations: List[dict]) -> _COCO:
    """Let faster-coco-eval index annotations, which get ids from 1 on."""
    for id_, ann in enumerate(annotations, 1):
        ann['id'] = id_
    dataset = {k: coco.dataset.get(k, []) for k in ('images', 'categories')}
    return _COCO(dict(dataset, annotations=annotations))
