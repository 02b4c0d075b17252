"""COCO's evaluation of keypoints, to be timed."""

import contextlib
import importlib
import io
import sys
from typing import Any, Dict, List, Tuple

import numpy as np

from .measure import Call, NotInstalled

KINDS = ('evaluate', 'xtcocotools')
_RESULTS = 20  # per image, which is what COCO counts


def load_evaluate(kind: str, what: str, **_: Any) -> Call:
    """Random results of this many images, or ``'loadRes+'`` this many.

    There are 20 in each image, near its 1 to 5 persons. ``'xtcocotools'``
    evaluates them with that package. ``'loadRes'`` is timed where it is named.
    """
    package = 'xtcocotools'
    if kind == 'evaluate':
        package = 'mmpose_ext.compat.xtcocotools'
    elif sys.modules[package].__name__ != package:
        raise NotInstalled(f'{kind} needs an xtcocotools that works')
    COCO = importlib.import_module(f'{package}.coco').COCO
    COCOeval = importlib.import_module(f'{package}.cocoeval').COCOeval
    first, _, images = what.rpartition('+')
    truth, results = _make(int(images))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO('random', ann_data=truth)
        loaded = None if first else truth.loadRes(results)

    def evaluate() -> List[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            found = loaded or truth.loadRes(results)
            evaluation = COCOeval(truth, found, 'keypoints')
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation.stats

    return Call(evaluate, int(images))


def _make(images: int) -> Tuple[Dict[str, list], List[dict]]:
    rng = np.random.default_rng(0)
    annotations, results = [], []
    for image in range(1, images + 1):
        size = rng.uniform(30, 200, (rng.integers(1, 6), 1, 1))
        persons = rng.uniform(0, 300, (len(size), 1, 2))
        persons = persons + size * rng.random((len(size), 17, 2))
        for person, (side,) in zip(persons, size[..., 0]):
            start, seen = person.min(axis=0), rng.integers(0, 3, (17, 1))
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    category_id=1,
                    iscrowd=0,
                    area=side**2 / 2,
                    bbox=[*start.tolist(), side, side],
                    keypoints=np.hstack([person, seen]).ravel().tolist(),
                )
            )
        of = rng.integers(0, len(persons), _RESULTS)
        found = persons[of] + rng.normal(0, 0.05, (_RESULTS, 17, 2)) * size[of]
        scores = rng.random((_RESULTS, 17, 1))
        results += [
            dict(
                image_id=image,
                category_id=1,
                keypoints=np.hstack([xy, score]).ravel().tolist(),
                score=score.mean(),
            )
            for xy, score in zip(found, scores)
        ]
    truth = dict(
        images=[dict(id=i) for i in range(1, images + 1)],
        annotations=annotations,
        categories=[dict(id=1, name='person')],
    )
    return truth, results
