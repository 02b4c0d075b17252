import csv
import json

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmpose.datasets import CocoDataset
from mmpose.evaluation.metrics import CocoMetric
from PIL import Image
from xtcocotools.coco import COCO

from mmpose_ext.datasets import LIPDataset
from mmpose_ext.datasets.lip_dataset import LIP_KEYPOINTS
from mmpose_ext.evaluation import LIPPCKh

SCRIPT = 'tools/converters/lip2coco.py'
PIPELINE = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale', padding=1.0),
    dict(type='TopdownAffine', input_size=(64, 64)),
    dict(type='PackPoseInputs'),
]


@pytest.fixture
def lip(toy_persons):
    """CSV and image folder of the toy data."""
    lip = toy_persons / 'lip'
    return (
        lip / 'TrainVal_pose_annotations' / 'lip_train_set.csv',
        lip / 'TrainVal_images' / 'train_images',
    )


def test_content(run_script, lip, tmp_path):
    out = tmp_path / 'new' / 'lip.json'
    status, said, _ = run_script(SCRIPT, *lip, out)
    assert status == 0
    content = json.loads(out.read_text())
    with open(lip[0]) as f:
        rows = list(csv.reader(f))
    assert len(rows) == len(content['images']) == len(content['annotations'])
    assert said == f'{len(rows)} images: {out}\n'

    (category,) = content['categories']
    assert category['name'] == 'person' and category['id'] == 1
    assert tuple(category['keypoints']) == LIP_KEYPOINTS
    assert np.min(category['skeleton']) == 1
    assert np.max(category['skeleton']) == 16

    flags = set()
    for i, cells in enumerate(rows):
        image, annotation = content['images'][i], content['annotations'][i]
        assert image['id'] == annotation['image_id'] == i + 1
        assert annotation['id'] == i + 1 and annotation['category_id'] == 1
        assert image['file_name'] == cells[0]
        with Image.open(lip[1] / cells[0]) as picture:
            assert (image['width'], image['height']) == picture.size
        assert annotation['bbox'] == [0, 0, image['width'], image['height']]
        assert 'image' not in annotation

        joints = np.array(cells[1:], dtype=float).reshape(16, 3)
        known = ~np.isnan(joints[:, 0])
        found = np.reshape(annotation['keypoints'], (16, 3))
        assert (found[known, :2] == joints[known, :2]).all()
        assert (found[known, 2] == 2 - joints[known, 2]).all()
        assert not found[~known].any()
        assert annotation['num_keypoints'] == known.sum()
        flags |= set(found[:, 2])
    assert flags == {0, 1, 2}
    assert len(COCO(str(out)).getAnnIds(catIds=[1])) == len(rows)


def predict(dataset):
    """Samples whose predictions are the labelled joints."""
    for item in dataset:
        sample = item['data_samples']
        truth = sample.gt_instances
        sample.pred_instances = truth.new()
        sample.pred_instances.keypoint_scores = np.ones((1, 16))
        yield sample.to_dict()


def test_mmposes_classes_read_it(run_script, lip, tmp_path):
    init_default_scope('mmpose')
    out = tmp_path / 'lip.json'
    assert run_script(SCRIPT, *lip, out)[0] == 0
    kwargs = dict(data_prefix=dict(img=f'{lip[1]}/'), pipeline=PIPELINE)
    ours = LIPDataset(ann_file=str(lip[0]), **kwargs)
    coco = CocoDataset(
        ann_file=str(out), metainfo=LIPDataset.METAINFO, **kwargs
    )
    assert len(coco) == len(ours)
    assert coco.metainfo['dataset_name'] == 'lip'
    for a, b in zip(ours, coco):
        a, b = (item['data_samples'] for item in (a, b))
        assert (a.id, a.img_id) == (b.id, b.img_id)
        assert a.img_path == b.img_path
        for data in (a, b):
            data.known = data.gt_instances.keypoints_visible > 0
        assert (a.known == b.known).all()
        np.testing.assert_array_equal(
            a.gt_instances.keypoints[a.known],
            b.gt_instances.keypoints[b.known],
        )

    for dataset in (ours, coco):
        samples = list(predict(dataset))
        for metric, key in (
            (CocoMetric(ann_file=str(out)), 'coco/AP'),
            (LIPPCKh(), 'lip/PCKh'),
        ):
            metric.dataset_meta = dataset.metainfo
            metric.process([], samples)
            found = metric.evaluate(len(samples))[key]
            assert found == pytest.approx(100 if 'lip' in key else 1)


def test_wrong_input(run_script, lip, tmp_path):
    out = tmp_path / 'lip.json'

    def fails(message, *args):
        status, _, said = run_script(SCRIPT, *args)
        assert status == 2 and said.startswith('error: ')
        assert message in said

    fails("'no.csv' does not exist", 'no.csv', lip[1], out)
    fails('images are missing', lip[0], tmp_path, out)
    broken = tmp_path / 'broken.csv'
    broken.write_text('a.jpg,1,2\n')
    fails('line 1: 3 columns, expected 49', broken, lip[1], out)
    assert not out.exists()

    out.write_text('precious')
    fails('exists already', *lip, out)
    assert out.read_text() == 'precious'
    assert run_script(SCRIPT, *lip, out, '--overwrite')[0] == 0
    assert json.loads(out.read_text())['annotations']
