import csv
import math

import numpy as np
import pytest
from mmengine.structures import InstanceData
from mmpose.registry import METRICS
from mmpose.structures import PoseDataSample

from mmpose_ext.errors import InputError
from mmpose_ext.evaluation import LIPPCKh, lip_pckh

GROUPS = dict(
    Head=(8, 9),
    Shoulder=(12, 13),
    Elbow=(11, 14),
    Wrist=(10, 15),
    Hip=(2, 3),
    Knee=(1, 4),
    Ankle=(0, 5),
)


def person():
    """16 joints at (100 + 10 i, 200), with a head of 10 px."""
    return np.stack([100 + 10.0 * np.arange(16), np.full(16, 200.0)], axis=-1)


def sample(pred, gt, visible=1, name='a.jpg'):
    return dict(
        pred_instances=dict(keypoints=np.array(pred)[None]),
        gt_instances=dict(
            keypoints=np.array(gt)[None],
            keypoints_visible=np.broadcast_to(visible, (1, 16)),
        ),
        img_path=f'/images/{name}',
    )


def evaluate(*samples, **kwargs):
    metric = LIPPCKh(**kwargs)
    metric.process([], samples)
    found = metric.evaluate(len(samples))
    return {key.replace('lip/', ''): value for key, value in found.items()}


def move(poses, dy, *joints):
    moved = poses.copy()
    moved[list(joints), 1] += dy
    return moved


def by_loops(preds, gts, thr=0.5):
    """The rules, one joint at a time."""
    hits, total = [0] * 16, [0] * 16
    for pred, gt in zip(preds, gts):
        if min(gt[8]) < 0 or min(gt[9]) < 0:
            continue
        head = math.dist(gt[8], gt[9])
        for i in range(16):
            if min(gt[i]) < 0:
                continue
            point = [1 if value < 0 else value for value in pred[i]]
            total[i] += 1
            hits[i] += math.dist(point, gt[i]) <= thr * head
    result = {
        name: sum(100 * hits[i] / total[i] for i in pair) / 2
        for name, pair in GROUPS.items()
    }
    for name, pool in (
        ('UBody', range(8, 16)),
        ('PCKh', [*range(6), *range(8, 16)]),
    ):
        count = sum(total[i] for i in pool)
        result[name] = 100 * sum(hits[i] for i in pool) / count
    result['error'] = 100 - result['PCKh']
    return result


@pytest.mark.parametrize('thr', [0.3, 0.5])
def test_all_rules_against_loops(thr):
    rng = np.random.default_rng(0)
    gts = rng.uniform(-5, 60, (80, 16, 2))
    preds = gts + rng.normal(0, 12, gts.shape)
    samples = [sample(p, g) for p, g in zip(preds, gts)]
    found, expected = evaluate(*samples, thr=thr), by_loops(preds, gts, thr)
    assert list(found) == list(expected)
    for name in expected:
        assert found[name] == pytest.approx(expected[name]), name
    assert 5 < found['PCKh'] < 95


def test_perfect_prediction_and_names():
    assert METRICS.get('mmpose.LIPPCKh') is LIPPCKh
    metric = LIPPCKh()
    metric.process([], [sample(person(), person())])
    found = metric.evaluate(1)
    names = [*GROUPS, 'UBody', 'PCKh']
    assert found == {**{f'lip/{n}': 100 for n in names}, 'lip/error': 0}
    metric = LIPPCKh(prefix='other')
    metric.process([], [sample(person(), person())])
    assert 'other/PCKh' in metric.evaluate(1)


def test_half_a_head_is_correct():
    gt = person()
    assert evaluate(sample(move(gt, 5, 0), gt))['Ankle'] == 100
    assert evaluate(sample(move(gt, 5.0001, 0), gt))['Ankle'] == 50
    assert evaluate(sample(move(gt, 4, 0), gt), thr=0.3)['Ankle'] == 50
    # The head alone is the measure, not 0.6 of it, and not the prediction's.
    gt[9, 0] += 10
    pred = move(gt, 9.9, 0)
    pred[9] = pred[8]
    found = evaluate(sample(pred, gt))
    assert found['Ankle'] == 100 and found['Head'] == 50


def test_groups_hold_their_joints_and_no_other():
    gt = person()
    for joint in range(16):
        found = evaluate(sample(move(gt, 50, joint), gt))
        groups = {name for name in GROUPS if found[name] == 50}
        assert groups == {n for n, pair in GROUPS.items() if joint in pair}
        missed = dict(UBody=joint >= 8, PCKh=joint not in (6, 7))
        for name, number in (('UBody', 8), ('PCKh', 14)):
            assert found[name] == pytest.approx(
                100 - missed[name] * 100 / number
            )
        assert found['error'] == pytest.approx(100 - found['PCKh'])


def test_sides_are_averaged_and_bodies_pooled():
    """Right ankle in one image of four, left ankle missed in its only one."""
    gt = person()
    right_only = gt.copy()
    right_only[5] = -1
    found = evaluate(
        sample(move(gt, 50, 0, 5), gt),
        sample(move(gt, 50, 0), right_only),
        sample(move(gt, 50, 0), right_only),
        sample(gt, right_only),
    )
    assert found['Ankle'] == pytest.approx((100 / 4 + 0) / 2)
    # 14 joints in one image, 13 in three; four of them missed.
    assert found['PCKh'] == pytest.approx(100 * (53 - 4) / 53)
    assert found['UBody'] == 100
    # A side without any ground truth does not count.
    found = evaluate(sample(gt, right_only), sample(gt, right_only))
    assert found['Ankle'] == 100


@pytest.mark.parametrize('missing', [8, 9])
@pytest.mark.parametrize('axis', [0, 1])
def test_images_without_a_head_do_not_count(missing, axis):
    gt = person()
    headless = gt.copy()
    headless[missing, axis] = -1
    wrong = sample(gt + 50, headless)
    assert evaluate(sample(gt, gt), wrong)['PCKh'] == 100
    assert evaluate(sample(gt + 50, gt), wrong)['PCKh'] == 0


def test_joints_with_a_negative_coordinate_do_not_count():
    gt = person()
    gt[0, 0], gt[14, 1] = -0.5, -3
    pred = move(gt, 50, 0, 14)
    found = evaluate(sample(pred, gt))
    assert found['PCKh'] == found['Ankle'] == found['Elbow'] == 100
    gt[0, 0], gt[14, 1] = 0, 0
    assert evaluate(sample(move(gt, 50, *range(16)), gt))['Ankle'] == 0


def test_visibility_only_marks_unlabelled_joints_of_coco():
    gt = person()
    for visible in (0, 0.3, np.arange(16) % 2):
        assert evaluate(sample(move(gt, 50, 0), gt, visible))['Ankle'] == 50
    without = sample(move(gt, 50, 0), gt)
    del without['gt_instances']['keypoints_visible']
    assert evaluate(without)['Ankle'] == 50

    gt[0] = 0
    pred = move(gt, 50, 0)
    visible = np.ones(16)
    assert evaluate(sample(pred, gt, visible))['Ankle'] == 50
    visible[0] = 0
    assert evaluate(sample(pred, gt, visible))['Ankle'] == 100
    pairs = np.stack([visible, np.ones(16)], axis=-1)  # with weights
    item = sample(pred, gt)
    item['gt_instances']['keypoints_visible'] = pairs[None]
    assert evaluate(item)['Ankle'] == 100


def test_negative_coordinates_of_a_prediction_become_one():
    gt = person()
    gt[0], gt[5] = (1, 200), (1, 1)
    pred = gt.copy()
    pred[0], pred[5] = (-300, 200), (-7, -0.1)
    assert evaluate(sample(pred, gt))['Ankle'] == 100
    pred[0] = (-300, 206)
    assert evaluate(sample(pred, gt))['Ankle'] == 50
    pred[0] = (0, 200)  # not negative
    gt[0] = (5.5, 200)
    assert evaluate(sample(pred, gt))['Ankle'] == 50
    pred[0] = np.nan
    assert evaluate(sample(pred, gt))['Ankle'] == 50


def test_nothing_to_evaluate(monkeypatch):
    messages = []
    monkeypatch.setattr(
        lip_pckh, 'print_log', lambda text, **_: messages.append(text)
    )
    nobody = np.full((16, 2), -1)
    found = evaluate(sample(person(), nobody))
    assert len(found) == 10 and all(math.isnan(v) for v in found.values())
    assert len(messages) == 1 and 'none of 1 images' in messages[0]
    assert all(math.isnan(v) for v in evaluate().values())
    evaluate(sample(person(), person()))
    assert len(messages) == 2


@pytest.mark.parametrize('shape', [(1, 17, 2), (2, 16, 2), (0, 16, 2),
                                   (1, 16, 3)])  # fmt: skip
@pytest.mark.parametrize('where', ['pred_instances', 'gt_instances'])
def test_refuses_other_than_one_person_of_sixteen_joints(shape, where):
    item = sample(person(), person())
    item[where]['keypoints'] = np.zeros(shape)
    with pytest.raises(ValueError, match='16 joints') as e:
        LIPPCKh().process([], [item])
    assert f'shape {shape}' in str(e.value)
    assert '/images/a.jpg' in str(e.value)


def test_data_samples_of_mmpose_and_input_kept():
    gt = person()
    pose = PoseDataSample(
        metainfo=dict(img_path='/images/a.jpg'),
        gt_instances=InstanceData(
            keypoints=gt[None].astype(np.float32),
            keypoints_visible=np.ones((1, 16), np.float32),
        ),
        pred_instances=InstanceData(keypoints=gt[None].astype(np.float32)),
    )
    pose.gt_instances.keypoints[0, 3] = 0
    pose.gt_instances.keypoints_visible[0, 3] = 0
    pose.pred_instances.keypoints[0, 0] = -9
    assert evaluate(pose.to_dict())['PCKh'] == pytest.approx(100 * 12 / 13)
    assert (pose.gt_instances.keypoints[0, 3] == 0).all()
    assert (pose.pred_instances.keypoints[0, 0] == -9).all()


def test_submission(tmp_path):
    path = tmp_path / 'out' / 'submission.csv'
    pred = person() + 0.4
    pred[1], pred[2] = (-7.6, 3.5), np.nan
    other = np.arange(32.0).reshape(16, 2)
    nobody = np.full((16, 2), -1)
    evaluate(
        sample(pred, nobody, name='1_2.jpg'),
        sample(other, nobody, name='3_4.jpg'),
        submission_file=str(path),
    )
    with open(path) as f:
        first, second = csv.reader(f)
    assert first[:7] == ['1_2.jpg', '100', '200', '-8', '4', '-1', '-1']
    assert len(first) == 33
    assert second == ['3_4.jpg', *map(str, range(32))]
    assert [p.name for p in path.parent.iterdir()] == ['submission.csv']


def test_submission_is_not_lost(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_text('precious')
    with pytest.raises(InputError, match=r"a\.csv' exists already"):
        LIPPCKh(submission_file=str(path))
    assert path.read_text() == 'precious'
    metric = LIPPCKh(submission_file=str(path), overwrite=True)
    for _ in range(2):  # as in a run with several evaluations
        metric.process([], [sample(person(), person())])
        metric.evaluate(1)
    assert path.read_text().startswith('a.jpg,100,200,')


def test_refuses_wrong_arguments():
    for argument, wrong in (
        *(('thr', 0), ('thr', math.nan), ('overwrite', 2)),
        *(('submission_file', ''), ('submission_file', ['a.csv'])),
    ):
        with pytest.raises(ValueError, match=rf'^{argument} must .* got '):
            LIPPCKh(**{argument: wrong})
