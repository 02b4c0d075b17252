import math

import numpy as np
import pytest
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData
from mmpose.evaluation.metrics import PCKAccuracy
from mmpose.registry import METRICS
from mmpose.structures import PoseDataSample

from mmpose_ext.datasets import LSPDataset
from mmpose_ext.datasets.lsp_dataset import LSP_KEYPOINTS
from mmpose_ext.errors import InputError
from mmpose_ext.evaluation import KeypointPCK

META = LSPDataset(lazy_init=True).metainfo


def sample(pred, gt, visible, box):
    return dict(
        pred_instances=dict(keypoints=pred[None]),
        gt_instances=dict(
            keypoints=gt[None],
            keypoints_visible=np.array(visible, float).reshape(1, -1),
            bboxes=np.array([box], float),
        ),
    )


def person(distances, visible=1, box=(0, 0, 60, 100)):
    """Joints that are so many px off, of a box of 100 px."""
    gt = np.random.default_rng(0).uniform(0, 100, (14, 2))
    pred = gt + np.reshape(distances, (-1, 1)) * [0.6, -0.8]
    return sample(pred, gt, np.broadcast_to(visible, 14), box)


def evaluate(*samples, metric=KeypointPCK, **kwargs):
    metric = metric(**kwargs)
    metric.dataset_meta = META
    metric.process([], samples)
    return metric.evaluate(len(samples))


def make_samples(number=40, seed=0):
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(number):
        gt = rng.uniform(-20, 120, (14, 2))
        # Better and better, and more and more often labelled.
        noise = rng.normal(0, np.linspace(14, 2, 14)[:, None], (14, 2))
        visible = rng.random(14) < np.linspace(0.3, 1, 14)
        corner, size = rng.uniform(0, 50, 2), rng.uniform(20, 150, 2)
        box = [*corner, *(corner + size)]
        samples.append(sample(gt + noise, gt, visible, box))
    return samples


def by_loops(samples, thr, names):
    """The rates of keypoints, one joint at a time; nan without a label."""
    rates = {}
    for name in names:
        i, hits, total = LSP_KEYPOINTS.index(name), 0, 0
        for item in samples:
            gt = item['gt_instances']
            x1, y1, x2, y2 = gt['bboxes'][0]
            longer = max(x2 - x1, y2 - y1)
            if gt['keypoints_visible'][0, i] and longer > 0:
                total += 1
                distance = math.dist(
                    gt['keypoints'][0, i],
                    item['pred_instances']['keypoints'][0, i],
                )
                hits += distance / longer < thr
        rates[name] = hits / total if total else math.nan
    return rates


@pytest.mark.parametrize('keypoints', [None, ['left_wrist', 'neck']])
@pytest.mark.parametrize('thrs', [(0.05, 0.1, 0.2), [0.13], (0.2, 0.02)])
def test_against_loops(thrs, keypoints):
    samples = make_samples()
    found = evaluate(*samples, thrs=thrs, keypoints=keypoints)
    names = keypoints or LSP_KEYPOINTS
    middle = thrs[len(thrs) // 2]
    expected = {}
    for thr in thrs:
        rates = by_loops(samples, thr, names)
        expected[f'PCK@{thr}'] = sum(rates.values()) / len(rates)
        if thr == middle:
            expected.update(
                {f'{name}@{thr}': rate for name, rate in rates.items()}
            )
    assert found == pytest.approx(expected)
    assert len({*found.values()}) > len(thrs)


@pytest.mark.parametrize('thr', [0.05, 0.1, 0.2])
def test_as_mmpose_counts(thr):
    samples = make_samples(seed=1)
    theirs = evaluate(*samples, metric=PCKAccuracy, thr=thr, prefix='mmpose')
    ours = evaluate(*samples, thrs=(thr,))
    assert 0.1 < ours[f'PCK@{thr}'] < 0.9
    assert ours[f'PCK@{thr}'] == theirs['mmpose/PCK']


def test_joints_of_all_images_are_not_pooled():
    """One keypoint weighs as much as another that is labelled more often."""
    samples = [person(np.arange(14) * 2, visible=np.arange(14) < 2)]
    samples += [person(50, visible=np.arange(14) == 0)] * 3
    found = evaluate(*samples)
    assert found['PCK@0.1'] == (1 / 4 + 1) / 2  # pooled, 2 of 5
    assert found['right_ankle@0.1'] == 0.25 and found['right_knee@0.1'] == 1


def test_one_image():
    distances = np.arange(14.0)
    distances[4], distances[6] = 4.999, 5.001
    found = evaluate(person(distances))
    # 5 px are 0.05 of the longer side: nearer is correct, that far is not.
    assert found['PCK@0.05'] == pytest.approx(5 / 14)
    assert found['PCK@0.1'] == pytest.approx(10 / 14)
    assert found['PCK@0.2'] == 1
    rates = [found[f'{name}@0.1'] for name in LSP_KEYPOINTS]
    assert rates == [1] * 10 + [0] * 4
    # The longer side counts, whichever it is, and not where the box stands.
    wide = person(distances, box=(-30, 20, 70, 21))
    assert evaluate(wide) == found


def test_keypoints_that_are_labelled_nowhere():
    visible = np.arange(14) != 12
    samples = [person(np.arange(14) < 7, visible)] * 2
    for item in samples:  # however wrong the rest is
        item['pred_instances']['keypoints'][0, 12] = np.inf
    found = evaluate(*samples, thrs=[0.005])
    assert math.isnan(found['neck@0.005'])
    assert found['PCK@0.005'] == pytest.approx(6 / 13)
    found = evaluate(*samples, keypoints=['neck'])
    assert len(found) == 4 and all(map(math.isnan, found.values()))


def test_boxes_without_a_size_do_not_count():
    """At no threshold: MMPose's function changes the sizes it is given."""
    for number in (1, 2):
        empty = [person(0, box=(7, 7, 7, 7))] * number
        found = evaluate(*empty)
        assert len(found) == 17 and all(map(math.isnan, found.values()))
        found = evaluate(*empty, person(np.full(14, 15.0)))
        assert [found[f'PCK@{thr}'] for thr in (0.05, 0.1, 0.2)] == [0, 0, 1]


def test_data_samples_of_mmpose_are_kept():
    item = person(np.arange(14))
    truth = item['gt_instances']
    # With the weights of visibility, as some transforms have them.
    truth['keypoints_visible'] = np.stack([np.ones((1, 14))] * 2, -1)
    pose = PoseDataSample(
        gt_instances=InstanceData(**truth),
        pred_instances=InstanceData(**item['pred_instances']),
    )
    before = pose.gt_instances.keypoints.copy()
    assert evaluate(pose.to_dict()) == evaluate(person(np.arange(14)))
    assert (pose.gt_instances.keypoints == before).all()


def test_names_of_the_metrics():
    assert METRICS.get('mmpose.KeypointPCK') is KeypointPCK
    limbs = ['left_hip', 'left_knee']
    assert list(evaluate(person(0), keypoints=limbs, prefix='val')) == [
        *('val/PCK@0.05', 'val/PCK@0.1', 'val/left_hip@0.1'),
        *('val/left_knee@0.1', 'val/PCK@0.2'),
    ]


def test_unknown_keypoints_are_refused_with_the_metainfo():
    """That is before the first image: loops begin with it."""
    metric = dict(type='KeypointPCK', keypoints=['neck', 'left_foot', 'nose'])
    evaluator = Evaluator(metric)
    with pytest.raises(InputError) as e:
        evaluator.dataset_meta = META
    assert (
        "keypoints has 'left_foot', but those of the data set are right_"
        in (str(e.value))
    )
    good = Evaluator(dict(metric, keypoints=list(LSP_KEYPOINTS)))
    good.dataset_meta = META
    assert good.metrics[0].dataset_meta is META


def test_refuses_wrong_arguments():
    for argument, wrong in (
        *(('thrs', ()), ('thrs', 0.1), ('thrs', (0.1, 0))),
        *(('thrs', (math.nan,)), ('keypoints', 'neck'), ('keypoints', [])),
        ('keypoints', 5),
    ):
        with pytest.raises(ValueError, match=rf'^{argument}.* must .* got '):
            KeypointPCK(**{argument: wrong})
