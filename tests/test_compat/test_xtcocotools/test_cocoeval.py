"""COCO's evaluation over faster-coco-eval, beside xtcocotools'."""

import copy
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from references.make_coco import CASES, STORED, evaluate, make_case, shorten

from mmpose_ext.compat.xtcocotools.coco import COCO
from mmpose_ext.compat.xtcocotools.cocoeval import COCOeval

COCO_MINI = Path(__file__).parents[4] / 'shared/data/coco_mini'
needs_xtcocotools = pytest.mark.skipif(
    sys.modules['xtcocotools'].__name__ != 'xtcocotools',
    reason='needs an xtcocotools that works, as with MMCV=compiled',
)


def evaluate_with_xtcocotools(*case):
    import xtcocotools.coco
    import xtcocotools.cocoeval

    return evaluate(
        xtcocotools.coco.COCO, xtcocotools.cocoeval.COCOeval, *case
    )


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key in found:
        np.testing.assert_allclose(
            found[key], expected[key], rtol=0, atol=1e-9, err_msg=key
        )


@pytest.mark.parametrize('case', CASES, ids=', '.join)
@pytest.mark.parametrize(
    'source', ['stored', pytest.param('installed', marks=needs_xtcocotools)]
)
@pytest.mark.filterwarnings("ignore:'face_score' not found")
def test_results_are_those_of_xtcocotools(source, case):
    content = make_case(*case)
    before = copy.deepcopy(content[0])
    evaluation, found = evaluate(COCO, COCOeval, *content)
    assert content[0] == before
    if source == 'stored':
        found = shorten(found)
        assert_same(found, json.loads(STORED.read_text())[', '.join(case)])
    else:
        other, expected = evaluate_with_xtcocotools(*make_case(*case))
        assert_same(found, expected)
        assert evaluation.score_key == other.score_key
        assert evaluation.params.imgIds == other.params.imgIds


@needs_xtcocotools
@pytest.mark.parametrize('kind', ['keypoints', 'bbox', 'segm'])
def test_on_coco(kind):
    """Shifted annotations are the results; crowds are among them."""
    path = COCO_MINI / 'annotations/person_keypoints_train2017.json'
    if not path.exists():
        pytest.skip('needs ../shared/data/coco_mini')
    truth = json.loads(path.read_text())
    rng = np.random.default_rng(0)
    results = []
    for person in truth['annotations'] * 2:
        result = dict(score=rng.random())
        for key in ('image_id', 'category_id', 'keypoints', 'bbox'):
            result[key] = person[key]
        off = rng.choice([0, 2, 10])
        result['bbox'] = (result['bbox'] + rng.uniform(0, off, 4)).tolist()
        points = np.reshape(result['keypoints'], (17, 3)).astype(float)
        points[:, :2] += rng.normal(0, off, (17, 2))
        result['keypoints'] = points.ravel().tolist()
        results.append(result)
    if kind == 'segm':
        masks = COCO(str(path))
        for result, person in zip(results, truth['annotations'] * 2):
            result['segmentation'] = masks.annToRLE(person)
            del result['bbox']
    content = truth, results, dict(iouType=kind)
    found = evaluate(COCO, COCOeval, *copy.deepcopy(content))[1]
    assert 0.1 < found['stats'][0] < 0.9
    assert_same(found, evaluate_with_xtcocotools(*content)[1])


def run(annotation, *results):
    """Evaluate results of one image, for a person with two keypoints."""
    annotation = dict(
        dict(
            id=5,
            image_id=4,
            category_id=1,
            bbox=[0, 0, 10, 10],
            area=50,
            keypoints=[0, 0, 2, 10, 10, 2],
            iscrowd=0,
        ),
        **annotation,
    )
    truth = dict(
        images=[dict(id=4)],
        annotations=[annotation],
        categories=[dict(id=1)],
    )
    results = [
        dict(image_id=4, category_id=1, keypoints=keypoints, score=score)
        for keypoints, score in results
    ]
    arguments = dict(iouType='keypoints', sigmas=[0.1, 0.2])
    return evaluate(COCO, COCOeval, truth, results, arguments)[0]


@pytest.mark.parametrize(
    'changed, expected',
    [
        # Variances of 0.04 and 0.16, an area of 50; 1 and 4 px away.
        ({}, (np.exp(-1 / 4) + np.exp(-16 / 16)) / 2),
        (dict(keypoints=[0, 0, 2, 0, 0, 0]), np.exp(-1 / 4)),
        # Twice the box ends at 20 px; the second is 4 px outside.
        (
            dict(keypoints=[0] * 6, bbox=[0, 0, 5, 10]),
            (1 + np.exp(-16 / 16)) / 2,
        ),
    ],
    ids=['two keypoints', 'one keypoint', 'twice the box'],
)
def test_similarity(changed, expected):
    evaluation = run(changed, ([0, 1, 1, 14, 10, 1], 0.5))
    np.testing.assert_allclose(evaluation.computeOks(4, 1), [[expected]])
    assert evaluation.computeOks(4, 2) == evaluation.computeOks(5, 1) == []


def test_keypoints_that_are_no_numbers_match_nobody():
    exact = [0, 0, 1, 10, 10, 1]
    assert run({}, (exact, 0.5)).stats[0] == pytest.approx(1)
    assert run({}, ([float('nan'), 0, 1, 10, 10, 1], 0.5)).stats[0] == 0


def test_a_score_that_is_no_number_is_the_lowest():
    exact, far = [0, 0, 1, 10, 10, 1], [90, 90, 1, 90, 90, 1]
    for other in (0.1, -3.0):
        evaluation = run({}, (exact, float('nan')), (far, other))
        assert evaluation.stats[0] == pytest.approx(0.5)
        evaluation = run({}, (exact, other), (far, float('nan')))
        assert evaluation.stats[0] == pytest.approx(1)
