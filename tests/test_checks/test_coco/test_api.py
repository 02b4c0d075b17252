"""MMPose's own classes read annotations by our rules."""

import json

import pytest
from mmpose.datasets import CocoDataset
from mmpose.evaluation import CocoMetric
from mmpose.evaluation.metrics import coco_metric, coco_wholebody_metric

from mmpose_ext.checks.coco.api import CheckedCOCO, CheckedTruth
from mmpose_ext.compat.xtcocotools.cocoeval import COCOeval
from mmpose_ext.errors import InputError

META = dict(
    dataset_name='three',
    keypoint_info={
        i: dict(name=str(i), id=i, color=[0, 0, 0], type='', swap='')
        for i in range(3)
    },
    skeleton_info={},
    joint_weights=[1.0] * 3,
    sigmas=[0.1] * 3,
)


@pytest.fixture
def write(tmp_path):
    path = tmp_path / 'b.json'
    return lambda content: path.write_text(json.dumps(content)) and str(path)


def make_dataset(path, **kwargs):
    return CocoDataset(ann_file=path, metainfo=META, **kwargs)


MAKERS = [
    make_dataset,
    lambda path: make_dataset(path, data_mode='bottomup'),
    lambda path: make_dataset(path, test_mode=True),
    CocoMetric,
    CheckedCOCO,
]


@pytest.mark.parametrize('make', MAKERS)
def test_faults_are_refused(make, write, content):
    make(write(content))
    content['annotations'][2]['id'] = 7
    with pytest.raises(InputError, match='annotation 7: also at index 2'):
        make(write(content))


def test_repairs(write, content):
    for annotation in content['annotations']:
        del annotation['area']
    del content['annotations'][0]['segmentation']
    path = write(content)
    metric = CocoMetric(ann_file=path)
    assert metric.coco.anns[7]['area'] == pytest.approx(636)
    (person, other) = make_dataset(path)
    assert person['area'] == pytest.approx(636)
    assert other['area'] == pytest.approx(2862)
    # Polygons of one person, none of another: MMPose alone fails here.
    first, second = make_dataset(path, data_mode='bottomup')
    assert first['invalid_segs'] == [content['annotations'][1]['segmentation']]
    assert second['invalid_segs'] == []


def test_what_the_arguments_of_coco_do(write, content):
    path = write(content)
    assert CheckedCOCO().dataset == {}
    assert CheckedCOCO(path).anns.keys() == {7, 8, 21}
    # Keypoints of MMPose's whole bodies are chosen so.
    chosen = CheckedCOCO(path, test_index=[1])
    assert chosen.anns[7]['keypoints'] == [20.5, 35, 1]
    given = CheckedCOCO(path, ann_data=dict(content, annotations=[]))
    assert given.anns == {}
    result = CheckedCOCO(path).loadRes(
        [dict(image_id=3, category_id=1, keypoints=[1, 2, 1], score=1)]
    )
    assert len(result.anns) == 1


def test_metrics_need_no_names_of_images(write, content):
    for image in content['images']:
        del image['file_name']
    assert CheckedTruth(write(content)).imgs.keys() == {3, 4, 9}
    with pytest.raises(InputError, match='image 3: file_name nothing'):
        CheckedCOCO(write(content))


def test_metrics_evaluate_in_c():
    for module in (coco_metric, coco_wholebody_metric):
        assert module.COCOeval is COCOeval
