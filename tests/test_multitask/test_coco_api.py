"""MMDet's own metric reads by our rules, and leaves out missing masks."""

import json

import mmdet.evaluation.metrics.coco_metric as mmdet_metric
import numpy as np
import pytest
import torch
from mmdet.evaluation.metrics import CocoMetric

from mmpose_ext.errors import InputError
from mmpose_ext.multitask import CocoPersonDataset
from mmpose_ext.multitask.coco_api import (
    CheckedCOCO,
    CheckedTruth,
    MaskedEval,
)

HEIGHT, WIDTH = 200, 300
# x, y, width and height.
FIRST, SECOND, NOBODY = (
    (10, 10, 80, 90),
    (100, 70, 100, 70),
    (220, 60, 50, 50),
)


def rectangle(box):
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def person(id_, box, **changes):
    annotation = dict(
        id=id_,
        image_id=1,
        category_id=1,
        bbox=list(box),
        area=box[2] * box[3],
        iscrowd=0,
        segmentation=rectangle(box),
    )
    return {**annotation, **changes}


@pytest.fixture
def write(tmp_path):
    def write(*annotations, **image):
        image = dict(id=1, width=WIDTH, height=HEIGHT, **image)
        content = dict(
            images=[image],
            annotations=annotations,
            categories=[dict(id=1, name='person')],
        )
        path = tmp_path / 'a.json'
        path.write_text(json.dumps(content))
        return str(path)

    return write


def evaluate(path, *found, empty=()):
    """Box and mask AP of (box, score), whose mask is all of the box.

    But for those in ``empty``, which have no pixel.
    """
    masks = np.zeros((len(found), HEIGHT, WIDTH), bool)
    for mask, ((x, y, w, h), _) in zip(masks, found):
        mask[y : y + h, x : x + w] = (x, y, w, h) not in empty
    boxes = np.array([(x, y, x + w, y + h) for (x, y, w, h), _ in found])
    metric = CocoMetric(ann_file=path, metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=('person',))
    results = []
    for _ in range(2):  # evaluations of one training share the truth
        pred = dict(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            scores=torch.tensor([score for _, score in found]),
            labels=torch.zeros(len(found), dtype=torch.long),
            masks=torch.tensor(masks),
        )
        sample = dict(img_id=1, ori_shape=(HEIGHT, WIDTH), pred_instances=pred)
        metric.process({}, [sample])
        values = metric.evaluate(1)
        results.append((values['coco/bbox_mAP'], values['coco/segm_mAP']))
    assert results[0] == results[1]
    return results[0]


def test_exact_predictions(write):
    path = write(person(0, FIRST), person(1, SECOND))
    assert evaluate(path, (FIRST, 0.9), (SECOND, 0.8)) == (1, 1)
    # One of two found: precision 1 for 51 of 101 levels of recall.
    expected = pytest.approx((51 / 101, 51 / 101), abs=1e-3)
    assert evaluate(path, (FIRST, 0.9)) == expected
    # Where all have a mask, one without a pixel is wrong: 1 of 2 is right.
    found = evaluate(path, (FIRST, 0.8), (SECOND, 0.9), empty=(SECOND,))
    assert found == (1, pytest.approx(0.5 * 51 / 101, abs=1e-3))


@pytest.mark.parametrize('segmentation', [None, [], 'missing'])
def test_a_mask_that_is_missing_is_not_evaluated(write, segmentation):
    second = person(2, SECOND, segmentation=segmentation)
    if segmentation == 'missing':
        del second['segmentation']
    path = write(person(1, FIRST), second)
    assert evaluate(path, (FIRST, 0.8), (SECOND, 0.9)) == (1, 1)
    nothing = dict(empty=(SECOND,))
    assert evaluate(path, (FIRST, 0.8), (SECOND, 0.9), **nothing) == (1, 1)
    # Half of the persons by boxes, all of those with a mask.
    assert evaluate(path, (FIRST, 0.8)) == (pytest.approx(0.505, abs=1e-3), 1)
    # What is found where nobody is annotated counts as before.
    expected = (pytest.approx(2 / 3, abs=1e-3), 0.5)
    found = evaluate(path, (NOBODY, 0.9), (FIRST, 0.8), (SECOND, 0.7))
    assert found == expected


def test_faults_are_refused(write):
    path = write(person(1, FIRST), person(1, SECOND), file_name='a.jpg')
    for make in (
        lambda: CocoMetric(ann_file=path),
        lambda: CheckedCOCO(path),
        lambda: CocoPersonDataset(ann_file=path, data_prefix=dict(img='')),
    ):
        with pytest.raises(InputError, match='annotation 1: also at index 1'):
            make()


def test_metrics_need_no_names_of_images(write):
    path = write(person(1, FIRST), person(2, SECOND, segmentation=[]))
    truth = CheckedTruth(path)
    assert truth.unmasked == {2}
    assert truth.get_ann_ids(img_ids=[1]) == [1, 2]
    assert truth.cat_img_map == {1: [1, 1]}
    with pytest.raises(InputError, match='image 1: file_name nothing'):
        CheckedCOCO(path)
    assert CheckedTruth().unmasked == set()


def test_mmdets_metric_uses_them():
    assert mmdet_metric.COCO is CheckedTruth
    assert mmdet_metric.COCOeval is MaskedEval
    assert CocoPersonDataset.COCOAPI is CheckedCOCO
