"""Evaluate made-up results with xtcocotools, for machines without it.

``python tests/references/make_coco.py`` writes ``coco.json`` beside it.
"""

import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pycocotools.mask as coco_mask

STORED = Path(__file__).with_name('coco.json')
PARTS = dict(
    keypoints=17, foot_kpts=6, face_kpts=9, lefthand_kpts=4, righthand_kpts=4
)
SIGMAS = {
    'keypoints_foot': 6,
    'keypoints_face': 9,
    'keypoints_lefthand': 4,
    'keypoints_righthand': 4,
    'keypoints_wholebody': 40,
}
KINDS = ['keypoints', 'keypoints_crowd', 'keypoints_body', *SIGMAS]
CASES = [(kind, '') for kind in ('bbox', 'segm', *KINDS)] + [
    ('keypoints', 'equal scores'),
    ('keypoints', 'boxes in the results'),
    ('keypoints', 'sigmas of COCO'),
    ('keypoints', 'no areas'),
    ('keypoints', 'nothing found'),
    ('keypoints', 'nobody annotated'),
    ('keypoints_crowd', 'no areas'),
    ('keypoints_crowd', 'easy images'),
    ('keypoints_crowd', 'nothing found'),
    ('keypoints_face', 'no scores of parts'),
    ('keypoints_wholebody', 'no areas'),
    ('bbox', 'equal scores'),
    ('bbox', 'no areas'),
    ('bbox', 'nothing found'),
    ('segm', 'nobody annotated'),
]


def make_case(kind, change):
    """The annotations, the results, and arguments of ``COCOeval``.

    There are persons of all sizes and of two categories, among them crowds,
    twins, and some without a visible keypoint. Results are exact to far off,
    some have no keypoint, and one image has more than are counted.
    """
    # These numbers are the same in all versions of numpy.
    rng = np.random.RandomState(CASES.index((kind, change)))
    images = [
        dict(id=int(i), width=320, height=240, crowdIndex=i % 5 / 4)
        for i in rng.permutation(12) * 3 + 1
    ]
    annotations, results = [], []
    for number, image in enumerate(images):
        persons = [_make_person(rng, image) for _ in range(rng.randint(5))]
        persons += persons[: number % 2]
        annotations += persons
        for _ in range(25 if number == 3 else rng.randint(9)):
            results.append(_make_result(rng, image, persons))
    annotations = [dict(a, id=7 + i) for i, a in enumerate(annotations)]
    if kind == 'segm':
        for result in results:
            x, y, w, h = np.array(result.pop('bbox'), int)
            pixels = np.zeros((240, 320, 1), np.uint8, order='F')
            pixels[y : y + h, x : x + w] = 1
            result['segmentation'] = coco_mask.encode(pixels)[0]
    elif kind != 'bbox' and change != 'boxes in the results':
        for result in results:
            del result['bbox']
    if change == 'equal scores':
        for result in results:
            result['score'] = round(result['score'] * 3) / 3
    if change == 'no scores of parts':
        for result in results:
            del result['face_score']
    if change == 'no areas':
        for annotation in annotations:
            del annotation['area']
    if change == 'easy images':
        for image in images:
            image['crowdIndex'] /= 10
    truth = dict(
        images=images,
        annotations=[] if change == 'nobody annotated' else annotations,
        categories=[dict(id=i, name=str(i)) for i in (1, 2)],
    )
    sigmas = rng.uniform(0.02, 0.2, SIGMAS.get(kind, 17))
    return (
        truth,
        [] if change == 'nothing found' else results,
        dict(
            iouType=kind,
            sigmas=None if change == 'sigmas of COCO' else sigmas,
            use_area=change != 'no areas',
        ),
    )


def _make_person(rng, image):
    w, h = rng.uniform(8, 200, 2).round(1)
    x, y = rng.uniform(0, 320 - w), rng.uniform(0, 240 - h)
    person = dict(
        image_id=image['id'],
        category_id=int(rng.randint(1, 3)),
        bbox=[x, y, w, h],
        area=w * h * rng.uniform(0.3, 1),
        iscrowd=int(rng.rand() < 0.15),
        num_keypoints=int(rng.randint(3)),
        segmentation=[[x, y, x + w, y, x + w, y + h, x + w / 4, y + h]],
    )
    for key, k in PARTS.items():
        xy = rng.uniform([x, y], [x + w, y + h], (k, 2))
        seen = rng.randint(3, size=(k, 1)) * (rng.rand() > 0.15)
        person[key] = np.hstack([xy, seen]).ravel().tolist()
    return person


def _make_result(rng, image, persons):
    near = persons and rng.rand() < 0.8
    person = persons[rng.randint(len(persons))] if near else None
    result = dict(person or _make_person(rng, image), score=rng.rand())
    for key in ('area', 'iscrowd', 'num_keypoints', 'segmentation'):
        del result[key]
    off = rng.choice([0, 0.02, 0.1, 0.3]) * min(result['bbox'][2:])
    result['bbox'] = (result['bbox'] + rng.uniform(0, off, 4)).tolist()
    for key, k in PARTS.items():
        points = np.reshape(result[key], (k, 3))
        points[:, :2] += rng.normal(0, off, (k, 2))
        points[:, 2] = rng.rand(k) * (rng.rand() > 0.1)
        result[key] = points.ravel().tolist()
        result[f'{key.split("_")[0]}_score'] = rng.rand()
    return dict(result, wholebody_score=rng.rand())


def evaluate(COCO, COCOeval, truth, results, arguments):
    """The ``COCOeval`` that is done, and its arrays before the summary."""
    with tempfile.NamedTemporaryFile('w') as file:
        json.dump(truth, file)
        file.flush()
        with contextlib.redirect_stdout(io.StringIO()):
            api = COCO(file.name)
            evaluation = COCOeval(api, api.loadRes(results), **arguments)
            evaluation.params.useSegm = None  # as MMPose does
            evaluation.evaluate()
            evaluation.accumulate()
            arrays = {
                key: evaluation.eval[key]
                for key in ('precision', 'recall', 'scores')
            }
            evaluation.summarize()
    return evaluation, dict(arrays, stats=np.array(evaluation.stats))


def shorten(arrays):
    """The same without thresholds of IoU and recall, for the file."""
    return {
        key: array.mean(axis=tuple(range(array.ndim - 3))).ravel().tolist()
        if array.ndim > 1
        else array.tolist()
        for key, array in arrays.items()
    }


def main():
    from xtcocotools.coco import COCO
    from xtcocotools.cocoeval import COCOeval

    stored = {
        ', '.join(case): shorten(
            evaluate(COCO, COCOeval, *make_case(*case))[1]
        )
        for case in CASES
    }
    STORED.write_text(json.dumps(stored, indent=1) + '\n')


if __name__ == '__main__':
    main()
