import contextlib
import copy
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmengine.structures import InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmpose_ext.errors import InputError
from mmpose_ext.multitask import (
    CocoKeypointMetric,
    CocoPersonDataset,
    coco_keypoint_metric,
)

META = CocoPersonDataset.METAINFO
NAMES = [
    f'coco/keypoints_{name}{part}'
    for name in ('mAP', 'AR')
    for part in ('', '_50', '_75', '_m', '_l')
]
MINI = Path(__file__).parents[3] / (
    'shared/data/coco_mini/annotations/person_keypoints_train2017.json'
)


def annotation(id_=1, image_id=1, keypoints=None, **kwargs):
    """A person of 100 x 200 px whose joints are at (60 + 5 k, 70 + 3 k)."""
    if keypoints is None:
        k = np.arange(17)
        keypoints = np.stack([60 + 5 * k, 70 + 3 * k, np.full(17, 2)], axis=1)
    keypoints = np.asarray(keypoints).ravel().tolist()
    return dict(
        id=id_,
        image_id=image_id,
        category_id=1,
        bbox=[50, 60, 100, 200],
        area=9000.0,
        iscrowd=0,
        keypoints=keypoints,
        num_keypoints=int(np.count_nonzero(keypoints[2::3])),
        **kwargs,
    )


@pytest.fixture
def write(tmp_path):
    """Write an annotation file of four images."""

    def write(*annotations, categories=('person',)):
        path = tmp_path / 'annotations.json'
        content = dict(
            images=[
                dict(id=i, file_name=f'{i}.jpg', width=300, height=300)
                for i in range(1, 5)
            ],
            annotations=list(annotations),
            categories=[
                dict(id=i, name=name) for i, name in enumerate(categories, 1)
            ],
        )
        path.write_text(json.dumps(content))
        return str(path)

    return write


def sample(img_id, annotations, scores=None, shift=(0, 0)):
    """Predictions like these persons, of which some may be unlabelled."""
    n = len(annotations)
    boxes = np.array([a['bbox'] for a in annotations], float).reshape(n, 4)
    boxes[:, 2:] += boxes[:, :2]
    truth = np.array([a['keypoints'] for a in annotations], float)
    truth = truth.reshape(n, 17, 3)
    centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    points = np.where(truth[..., 2:] > 0, truth[..., :2] + shift, centre)
    scores = np.linspace(0.9, 0.5, n) if scores is None else scores
    persons = InstanceData(
        bboxes=torch.tensor(boxes),
        scores=torch.as_tensor(scores).reshape(n),
        labels=torch.zeros(n, dtype=torch.long),
        keypoints=torch.tensor(points + 0.5),
        keypoint_scores=torch.ones(n, 17),
    )
    return dict(img_id=img_id, pred_instances=persons)


def build(ann_file, **kwargs):
    metric = METRICS.build(
        dict(type='CocoKeypointMetric', ann_file=str(ann_file), **kwargs)
    )
    assert isinstance(metric, CocoKeypointMetric)
    metric.dataset_meta = META
    return metric


def evaluate(ann_file, *samples, **kwargs):
    metric = build(ann_file, **kwargs)
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def directly(ann_file, results, img_ids):
    """What pycocotools makes of results."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(ann_file))
        evaluation = COCOeval(truth, truth.loadRes(results), 'keypoints')
        evaluation.params.imgIds = img_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def mini_samples():
    """Noisy ground truth, as samples and as results of COCO's."""
    if not MINI.is_file():
        pytest.skip('needs the mini COCO')
    content = json.loads(MINI.read_text())
    rng = np.random.default_rng(0)
    samples, results = [], []
    for image in content['images'][:30]:
        persons = [
            ann
            for ann in content['annotations']
            if ann['image_id'] == image['id'] and not ann['iscrowd']
        ]
        found = sample(image['id'], persons, scores=rng.random(len(persons)))
        pred = found['pred_instances']
        sizes = (pred.bboxes[:, 2:] - pred.bboxes[:, :2])[:, None]
        shift = rng.normal(size=pred.keypoints.shape) * 0.05
        pred.keypoints = pred.keypoints + torch.tensor(shift) * sizes
        samples.append(found)
        for i, person in enumerate(persons):
            x, y = pred.keypoints[i].numpy().T - 0.5
            results.append(
                dict(
                    image_id=image['id'],
                    category_id=1,
                    score=float(pred.scores[i]),
                    keypoints=np.stack([x, y, x * 0], -1).ravel().tolist(),
                    bbox=person['bbox'],
                )
            )
    return samples, results


def test_hand_computed_oks(write):
    """(dx² + dy²) / (2 area (2 sigma)²), averaged over the labelled ones."""
    person = annotation()
    distance = 10
    oks = np.mean(
        [
            math.exp(-(distance**2) / (2 * 9000 * (2 * sigma) ** 2))
            for sigma in META['sigmas']
        ]
    )
    thresholds = np.arange(50, 100, 5) / 100
    assert 0.55 < oks < 0.9
    assert np.abs(thresholds - oks).min() > 0.005
    passed = (thresholds < oks).mean()
    found = evaluate(write(person), sample(1, [person], shift=(6, -8)))
    assert found['coco/keypoints_mAP'] == pytest.approx(passed)
    assert found['coco/keypoints_AR'] == pytest.approx(passed)
    assert found['coco/keypoints_mAP_50'] == pytest.approx(1)


def test_half_a_pixel_counts(write):
    """The centre of the first pixel is 0.5 in samples and 0 in the file."""
    person = annotation()
    metric = build(write(person))
    metric.process(None, [sample(1, [person])])
    (found,) = metric._coco_results(metric.results[0], [1])
    expected = np.reshape(person['keypoints'], (17, 3)).astype(float)
    expected[:, 2] = 1
    np.testing.assert_array_equal(
        np.reshape(found['keypoints'], (17, 3)), expected
    )
    assert found['image_id'] == found['category_id'] == 1
    assert found['score'] == 0.9
    assert 'bbox' not in found


def test_sigmas_are_those_of_the_dataset(write):
    person = annotation()
    metric = build(write(person))
    metric.dataset_meta = {**META, 'sigmas': np.full(17, 0.001)}
    metric.process(None, [sample(1, [person], shift=(6, -8))])
    assert metric.evaluate(1)['coco/keypoints_mAP'] == 0


def test_images_that_were_not_seen_do_not_count(write):
    persons = [annotation(i, i) for i in range(1, 5)]
    path = write(*persons)
    found = evaluate(path, sample(1, persons[:1]), sample(3, [persons[2]]))
    assert found['coco/keypoints_mAP'] == pytest.approx(1)
    assert found['coco/keypoints_AR'] == 1
    found = evaluate(path, sample(1, persons[:1]), sample(3, []))
    assert found['coco/keypoints_AR'] == 0.5


def test_no_persons_found(write):
    large = annotation(2, 2)
    large['area'] = 20000.0
    path = write(annotation(1, 1), large, annotation(3, 3))
    found = evaluate(path, sample(1, []), sample(2, []))
    assert list(found) == NAMES
    assert set(found.values()) == {0}


def test_nobody_of_a_size_is_minus_one(write):
    """As pycocotools has it."""
    found = evaluate(write(annotation()), sample(1, []))
    assert found['coco/keypoints_mAP_l'] == -1
    assert found['coco/keypoints_mAP_m'] == found['coco/keypoints_mAP'] == 0


@pytest.mark.parametrize('with_bbox', [False, True])
def test_noise_is_evaluated_as_pycocotools_does(with_bbox):
    samples, results = mini_samples()
    if not with_bbox:
        for result in results:
            del result['bbox']
    img_ids = [s['img_id'] for s in samples]
    expected = directly(MINI, copy.deepcopy(results), img_ids)
    found = evaluate(MINI, *samples, with_bbox=with_bbox)
    assert list(found) == NAMES
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-12)
    mean = found['coco/keypoints_mAP']
    assert 0.1 < mean < 0.9
    assert mean != round(mean, 3)


def test_several_processes(write):
    """Results of two, one of which has repeated an image to fill up."""
    persons = [annotation(i, i) for i in range(1, 4)]
    path = write(*persons)
    shifts = [(0, 0), (6, -8), (300, 0)]
    samples = [
        sample(i, [person], scores=[0.3 * i], shift=shift)
        for i, person, shift in zip((1, 2, 3), persons, shifts)
    ]
    first, second = build(path), build(path)
    first.process(None, samples[:2])
    second.process(None, [samples[2], samples[0]])
    found = first.compute_metrics([*first.results, *second.results])
    alone = evaluate(path, *samples)
    assert found == {k.replace('coco/', ''): v for k, v in alone.items()}
    assert 0 < found['keypoints_mAP'] < 1


@pytest.mark.parametrize('keypoints', [None, [], [0] * 51])
def test_persons_without_keypoints_are_ignored(write, keypoints):
    """A detection near such a person is neither right nor wrong."""
    bare = annotation(2, 1)
    bare['bbox'] = [180, 60, 100, 200]
    bare['keypoints'] = keypoints
    if keypoints is None:
        del bare['keypoints']
    del bare['num_keypoints']
    person = annotation()
    unlabelled = annotation(2, 1, np.zeros((17, 3)))
    unlabelled['bbox'] = bare['bbox']
    found = evaluate(
        write(person, bare), sample(1, [person, unlabelled], [0.8, 0.9])
    )
    assert found['coco/keypoints_mAP'] == pytest.approx(1)


def test_missing_numbers_of_keypoints_are_those_labelled(write):
    """Occluded joints count, persons without a label do not.

    Of the two persons with labels, one is found: a recall of 1/2. COCO's
    precision is then 1 at 51 of its 101 recalls.
    """
    occluded = np.full((17, 3), 1.0)
    occluded[:, :2] = 60 + 5 * np.arange(17)[:, None]
    one = np.zeros((17, 3))
    one[3] = [200, 210, 2]
    persons = [
        annotation(1, 1, occluded),
        annotation(2, 1, one),
        annotation(3, 1, np.zeros((17, 3))),
    ]
    for person in persons:
        del person['num_keypoints']
    found = evaluate(write(*persons), sample(1, persons[:1]))
    assert found['coco/keypoints_AR'] == 0.5
    assert found['coco/keypoints_mAP'] == pytest.approx(51 / 101)


def test_results_are_written(write, tmp_path):
    person = annotation()
    path = write(person)
    prefix = str(tmp_path / 'new/results')
    metric = build(path, format_only=True, outfile_prefix=prefix)
    metric.process(None, [sample(1, [person]), sample(2, [])])
    assert metric.evaluate(2) == {}
    file = tmp_path / 'new/results.keypoints.json'
    (entry,) = json.loads(file.read_text())
    assert set(entry) == {'image_id', 'category_id', 'score', 'keypoints'}
    np.testing.assert_allclose(directly(path, [entry], [1])[:3], 1)

    with pytest.raises(InputError, match=r'results\.keypoints\.json.*exists'):
        build(path, outfile_prefix=prefix)
    metric = build(path, outfile_prefix=prefix, overwrite=True, with_bbox=True)
    metric.process(None, [sample(1, [person])])
    assert metric.evaluate(1)['coco/keypoints_mAP'] == pytest.approx(1)
    (entry,) = json.loads(file.read_text())
    assert entry['bbox'] == person['bbox']


def test_a_file_without_annotations_can_be_formatted(write, tmp_path):
    metric = build(
        write(), format_only=True, outfile_prefix=str(tmp_path / 'results')
    )
    metric.process(None, [sample(1, [annotation()])])
    assert metric.evaluate(1) == {}
    assert len(json.loads((tmp_path / 'results.keypoints.json').read_text()))


def test_only_the_summary_is_logged(write, capsys, monkeypatch):
    logged = []
    monkeypatch.setattr(
        coco_keypoint_metric,
        'print_log',
        lambda text, logger: logged.append(text),
    )
    person = annotation()
    evaluate(write(person), sample(1, [person]))
    assert capsys.readouterr().out == ''
    (text,) = logged
    assert text.count('Average Precision') == 5
    assert text.count('Average Recall') == 5


def test_mistakes(write, tmp_path):
    person = annotation()
    path = write(person)
    with pytest.raises(InputError, match=r"'gone\.json' does not exist"):
        build('gone.json')
    with pytest.raises(ValueError, match='outfile_prefix, got None'):
        build(path, format_only=True)

    metric = build(path)
    with pytest.raises(ValueError, match='image id 99'):
        metric.process(None, [sample(99, [person])])
    without = sample(1, [person])
    del without['pred_instances'].keypoints
    with pytest.raises(ValueError, match=r'only .*scores.*keypoint_head'):
        metric.process(None, [without])
    fewer = sample(1, [person])
    fewer['pred_instances'].keypoints = torch.zeros(1, 5, 2)
    with pytest.raises(ValueError, match=r'17 sigmas.*got \(1, 5, 2\)'):
        metric.process(None, [fewer])
    metric.dataset_meta = dict(classes=('person',))
    with pytest.raises(ValueError, match=r"no 'sigmas'.*CocoPersonDataset"):
        metric.process(None, [sample(1, [person])])

    def fails(*annotations, **kwargs):
        evaluate(write(*annotations, **kwargs), sample(1, [person]))

    with pytest.raises(InputError, match='dog, cat, expected person'):
        fails(person, categories=('dog', 'cat'))
    bare = {k: v for k, v in person.items() if 'keypoints' not in k}
    with pytest.raises(InputError, match='none of its 1 persons'):
        fails(bare)
    with pytest.raises(
        InputError, match=r'annotation 7: .*of 15.*expected 51'
    ):
        fails(person, annotation(7, 1, np.zeros((5, 3))))
    with pytest.raises(InputError, match=r'has 15 numbers .*expected 51 \('):
        fails(annotation(7, 1, np.zeros((5, 3))))
