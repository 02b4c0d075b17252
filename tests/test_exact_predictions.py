"""Exact predictions score 1 in every evaluator, for every accepted file."""

import copy
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from mmdet.registry import DATASETS as MMDET_DATASETS
from mmdet.registry import METRICS as MMDET_METRICS
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmpose.registry import DATASETS, METRICS

import mmpose_ext.multitask  # noqa: F401  registers its classes
from mmpose_ext.checks import read_annotations
from mmpose_ext.datasets.lip_dataset import LIP_METAINFO
from mmpose_ext.errors import InputError
from mmpose_ext.inference import count_persons, evaluate_boxes

MAKE_CASES = Path(__file__).parents[2] / 'shared/cases/make_cases.py'
REFUSED = {
    'repeated_annotation_ids',
    'repeated_image_ids',
    'visibility_minus_1',
    'nan_at_a_labelled_keypoint',
    'fractions',
    'segmentation_as_a_flat_list',
    'text_for_numbers',
    'null_box',
    'images_as_a_dict',
    'image_ids_of_text',
    'annotations_of_no_image',
}


# Each evaluates the persons of a file, all of whom are found exactly, and
# returns the metrics that are 1.


def mmpose(path, truth, mode='topdown', **metric):
    dataset = DATASETS.build(
        dict(type='CocoDataset', ann_file=path, data_mode=mode, test_mode=True)
    )
    metric = METRICS.build(metric)
    # MMPose keeps the files of the datasets that it has seen by name.
    metric.dataset_meta = dict(dataset.metainfo, dataset_name='unseen')
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        if info['raw_ann_info'] is not None:  # an image without a person
            metric.process(None, [pose_sample(info, truth)])
    return metric.evaluate(len(dataset))


def pose_sample(info, truth):
    """A person for top-down metrics, an image for bottom-up ones."""
    raw, category = info['raw_ann_info'], info['category_id']
    raws, category = (raw, 1) if isinstance(raw, list) else ([raw], category)
    persons = [truth[r['number']] for r in raws if not r['iscrowd']]
    points = np.array([p['points'] for p in persons], np.float32)
    n = len(points)
    boxes = np.reshape([p['corners'] for p in persons], (n, 4))
    return dict(
        id=info['id'],
        img_id=info['img_id'],
        ori_shape=(10, 10),
        input_size=(64, 96),
        input_scale=np.array([64.0, 96.0]),
        raw_ann_info=raw,
        category_id=category,
        pred_instances=dict(
            keypoints=points,
            keypoint_scores=np.full(points.shape[:2], 0.9, np.float32),
            bboxes=boxes,
        ),
        gt_instances=dict(
            bbox_scores=np.ones(n, np.float32),
            bbox_scales=boxes[:, 2:] - boxes[:, :2],
        ),
    )


def with_file(path, truth):
    return [mmpose(path, truth, type='CocoMetric', ann_file=path)['coco/AP']]


def without_file(path, truth):
    """The truth is that of the samples."""
    return [mmpose(path, truth, type='CocoMetric')['coco/AP']]


def bottomup(path, truth):
    metric = dict(type='EmptySafeCocoMetric', ann_file=path, nms_mode='none')
    return [mmpose(path, truth, 'bottomup', **metric)['coco/AP']]


def upper_bound(path, truth):
    found = mmpose(path, truth, type='ExpansionUpperBound', ann_file=path)
    return [found['coco/AP'], found['coco/upper_bound_k11/AP']]


def lip(path, truth):
    """The same persons with LIP's 16 joints, one for each sample."""
    content = json.loads(Path(path).read_text())
    for a in content['annotations']:
        a['keypoints'] = a['keypoints'][:48]
        a.pop('num_keypoints', None)
    Path(path).write_text(json.dumps(content))
    dataset = DATASETS.build(
        dict(
            type='CocoDataset',
            ann_file=path,
            metainfo=LIP_METAINFO,
            test_mode=True,
        )
    )
    metric = METRICS.build(dict(type='LIPPCKh'))
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        points = truth[info['raw_ann_info']['number']]['points'][None, :16]
        metric.process(
            None,
            [dict(pred_instances=dict(keypoints=points), gt_instances=info)],
        )
    return [metric.evaluate(len(dataset))['lip/PCKh'] / 100]


def boxes_and_keypoints(path, truth):
    """By MMDet's metrics, with the truth of the file and of the samples."""
    return [
        *mmdet(path, truth, dict(type='CocoKeypointMetric', ann_file=path)),
        *mmdet(path, truth, dict(type='CocoMetric', metric='bbox')),
        *mmdet(path, truth, dict(type='CocoMetric', ann_file=path)),
    ]


def masks(path, truth):
    metric = dict(type='CocoMetric', metric='segm', ann_file=path)
    return mmdet(path, truth, metric)


def mmdet(path, truth, metric):
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = MMDET_DATASETS.build(
            dict(
                type='CocoPersonDataset',
                ann_file=path,
                data_prefix=dict(img=''),
                test_mode=True,
            )
        )
        metric = MMDET_METRICS.build(metric)
    metric.dataset_meta = dataset.metainfo
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        name = Path(info['img_path']).name
        sample = dict(
            img_id=info['img_id'],
            ori_shape=(info['height'], info['width']),
            pred_instances=detections(
                [p for p in truth.values() if p['image'] == name]
            ),
            instances=info['instances'],
        )
        metric.process(None, [sample])
    found = metric.evaluate(len(dataset))
    return [value for key, value in found.items() if key.endswith('_mAP')]


def detections(persons):
    n = len(persons)
    return InstanceData(
        bboxes=torch.tensor([p['corners'] for p in persons]).reshape(n, 4),
        scores=torch.full((n,), 0.9),
        labels=torch.zeros(n, dtype=torch.long),
        masks=[p['mask'] for p in copy.deepcopy(persons)],
        keypoints=torch.tensor(
            np.array([p['points'] for p in persons]).reshape(n, 17, 2) + 0.5
        ),
        keypoint_scores=torch.full((n, 17), 0.9),
    )


def detect_persons(path, truth):
    count_persons(path)  # as the tool, before it looks for persons
    images = json.loads(Path(path).read_text())['images']
    ids = {Path(image['file_name']).name: image['id'] for image in images}
    boxes = [
        dict(
            image_id=ids[person['image']],
            category_id=1,
            bbox=person['box'],
            score=0.9,
        )
        for person in truth.values()
    ]
    return [evaluate_boxes(path, boxes)['AP']]


EVALUATORS = (
    *(with_file, without_file, bottomup, upper_bound, lip),
    *(boxes_and_keypoints, masks, detect_persons),
)


# ------------------------------------------------------------------ the files


@pytest.fixture(scope='module')
def source(toy_persons):
    """Some toy persons, one of them without labels, and a crowd."""
    path = toy_persons / 'annotations/person_keypoints_train.json'
    data = json.loads(path.read_text())
    data['images'] = data['images'][:4]
    ids = {image['id'] for image in data['images']}
    persons = [a for a in data['annotations'] if a['image_id'] in ids]
    nobody = dict(keypoints=[0] * 51, num_keypoints=0)
    persons[2].update(nobody)
    height, width = (data['images'][0][key] for key in ('height', 'width'))
    counts = [height * 5, height * 60, height * (width - 65)]
    persons.append(
        dict(
            persons[0],
            **nobody,
            id=900,
            iscrowd=1,
            bbox=[5, 0, 60, height],
            area=height * 60,
            segmentation=dict(size=[height, width], counts=counts),
        )
    )
    # By these they are recognised, whatever is done to their ids.
    for number, person in enumerate(persons):
        person['number'] = number
    return dict(data, annotations=persons)


def truth_of(data):
    """The persons of a file that is as it should be, by their numbers."""
    images = {image['id']: image for image in data['images']}
    truth = {}
    for a in data['annotations']:
        if a['iscrowd']:
            continue
        points = np.reshape(a['keypoints'], (-1, 3)).astype(float)
        x, y, w, h = a['bbox']
        # Where nothing is labelled, a model predicts something, too.
        hidden = points[:, 2] == 0
        points[hidden, :2] = x + w / 2, y + h / 2
        image = images[a['image_id']]
        truth[a['number']] = dict(
            image=Path(image['file_name']).name,
            points=points[:, :2],
            box=[x, y, w, h],
            corners=[x, y, x + w, y + h],
            mask=encode(a['segmentation'], image['height'], image['width']),
        )
    return truth


def encode(segmentation, height, width):
    if isinstance(segmentation, list):
        codes = mask_util.frPyObjects(segmentation, height, width)
        return mask_util.merge(codes)
    return mask_util.frPyObjects(segmentation, height, width)


def evaluate(evaluator, data, truth, folder):
    path = folder / 'file.json'
    path.write_text(json.dumps(data))
    return evaluator(str(path), truth)


def annotations(**changes):
    """A change of all annotations; functions get annotation and number."""

    def change(data):
        for n, a in enumerate(data['annotations']):
            for key, value in changes.items():
                a[key] = value(a, n) if callable(value) else value

    return change


def without(key):
    def change(data):
        for a in data['annotations']:
            a.pop(key, None)

    return change


def on_one_only(key):
    def change(data):
        for a in data['annotations'][1:]:
            a.pop(key, None)

    return change


def nan_where_unlabelled(data):
    for a in data['annotations']:
        for i in range(0, len(a['keypoints']), 3):
            if not a['keypoints'][i + 2]:
                a['keypoints'][i : i + 2] = [math.nan, math.inf]


def other_category(data):
    data['categories'] = [
        dict(data['categories'][0], id=7),
        dict(id=1, name='dog'),
    ]
    annotations(category_id=7)(data)


def images_from_0(data):
    ids = {image['id']: i for i, image in enumerate(data['images'])}
    for image in data['images']:
        image['id'] = ids[image['id']]
    annotations(image_id=lambda a, n: ids[a['image_id']])(data)


def no_flags_of_persons(data):
    for a in data['annotations']:
        if not a['iscrowd']:
            del a['iscrowd']


def mixed_order(data):
    np.random.default_rng(0).shuffle(data['annotations'])


ACCEPTED = dict(
    as_it_is=lambda data: None,
    ids_from_0=annotations(id=lambda a, n: n),
    ids_below_0=annotations(id=lambda a, n: -n - 1),
    ids_around_0=annotations(id=lambda a, n: n - 5),
    ids_of_floats=annotations(id=lambda a, n: n + 1.0),
    large_ids=annotations(id=lambda a, n: 10**12 + n),
    images_from_0=images_from_0,
    no_area=without('area'),
    area_0=annotations(area=0),
    area_below_0=annotations(area=-3.5),
    area_nan=annotations(area=math.nan),
    area_of_the_first_only=on_one_only('area'),
    nan_where_unlabelled=nan_where_unlabelled,
    one_segmentation=on_one_only('segmentation'),
    no_segmentation=without('segmentation'),
    empty_segmentations=annotations(segmentation=[]),
    no_flags_of_persons=no_flags_of_persons,
    no_counts=without('num_keypoints'),
    other_category=other_category,
    mixed_order=mixed_order,
)


def changed(source, name):
    data = copy.deepcopy(source)
    ACCEPTED[name](data)
    return data


@pytest.mark.parametrize('evaluator', EVALUATORS)
def test_accepted_files(evaluator, source, tmp_path):
    for name in ACCEPTED:
        data = changed(source, name)
        found = evaluate(evaluator, data, truth_of(source), tmp_path)
        # Where no mask is labelled, there is nothing to evaluate.
        nothing = name in ('no_segmentation', 'empty_segmentations')
        expected = -1 if nothing and evaluator is masks else 1
        assert found
        assert all(abs(value - expected) < 1e-9 for value in found), name


@pytest.mark.parametrize('evaluator', EVALUATORS)
def test_areas_are_estimated(evaluator, source, tmp_path):
    """2 px off, a file scores as with 0.53 of the boxes as areas."""
    truth = truth_of(source)
    for person in truth.values():
        person['points'] = person['points'] + [2, 0]
    estimated = copy.deepcopy(source)
    annotations(area=lambda a, n: 0.53 * a['bbox'][2] * a['bbox'][3])(
        estimated
    )
    expected = evaluate(evaluator, estimated, truth, tmp_path)
    for name in ('no_area', 'area_0'):
        found = evaluate(evaluator, changed(source, name), truth, tmp_path)
        assert found == pytest.approx(expected, abs=1e-12)
    if evaluator in (with_file, without_file, bottomup):
        assert 0.1 < found[0] < 0.99


# ---------------------------------------------------------- cases of others


@pytest.fixture(scope='module')
def cases(source, tmp_path_factory):
    """The files of ../shared/cases, by their names."""
    if not MAKE_CASES.is_file():
        pytest.skip('needs ../shared/cases')
    folder = tmp_path_factory.mktemp('cases')
    path = folder / 'source.json'
    path.write_text(json.dumps(source))
    command = [sys.executable, MAKE_CASES, path, folder / 'made']
    subprocess.run(command, check=True, capture_output=True)
    paths = sorted((folder / 'made').glob('*.json'))
    return {path.stem: json.loads(path.read_text()) for path in paths}


@pytest.mark.parametrize('evaluator', EVALUATORS)
def test_cases_are_refused_or_score_1(cases, evaluator, source, tmp_path):
    assert set(cases) > REFUSED
    for name, data in cases.items():
        if name in REFUSED:
            with pytest.raises(InputError, match=r'file\.json'):
                evaluate(evaluator, data, truth_of(source), tmp_path)
        elif name != 'width_and_height_swapped':  # which is seen in images
            corners = name == 'boxes_of_two_corners'
            truth = truth_of(data if corners else source)
            found = evaluate(evaluator, data, truth, tmp_path)
            assert all(abs(value - 1) < 1e-9 for value in found), name


def test_swapped_sizes_are_seen_in_images(cases, toy_persons, tmp_path):
    path = tmp_path / 'file.json'
    path.write_text(json.dumps(cases['width_and_height_swapped']))
    with pytest.raises(InputError, match='width and height are swapped'):
        read_annotations(str(path), img_dir=str(toy_persons / 'train'))
