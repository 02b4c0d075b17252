import copy
import json
import math
import pickle

import numpy as np
import pytest
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import METRICS

from mmpose_ext.codecs import KeypointExpansion
from mmpose_ext.errors import InputError
from mmpose_ext.evaluation import ExpansionUpperBound

META = parse_pose_metainfo(dict(from_file='configs/_base_/datasets/coco.py'))
# MMPose keeps the annotation files of the datasets that it has seen by name.
META['dataset_name'] = 'unseen'
SIGMAS = META['sigmas'].astype(float)
SPACING = SIGMAS / SIGMAS.min()
BOUND = 'upper_bound_k11/'


def person(id_, img_id, keypoints, visible=2, area=4000.0, **kwargs):
    keypoints = np.asarray(keypoints, dtype=float)
    visible = np.broadcast_to(visible, len(keypoints))
    (x, y), (right, bottom) = keypoints.min(0), keypoints.max(0)
    return dict(
        dict(
            id=id_,
            image_id=img_id,
            category_id=1,
            keypoints=np.c_[keypoints, visible].ravel().tolist(),
            num_keypoints=int((visible > 0).sum()),
            bbox=[x, y, right - x, bottom - y],
            area=area,
            iscrowd=0,
        ),
        **kwargs,
    )


def sample(img_id, poses, id_=None, score=0.9, pixel=1.0, **kwargs):
    """A sample as a bottom-up model predicts it, or a top-down one (id_)."""
    poses = np.asarray(poses, dtype=np.float32)
    scores = np.broadcast_to(np.float32(score), (len(poses),))
    return dict(
        id=[img_id] if id_ is None else id_,
        img_id=img_id,
        ori_shape=(200, 200),
        input_size=(64, 96),
        input_scale=np.array([64, 96]) * pixel,
        pred_instances=dict(
            keypoints=poses,
            keypoint_scores=np.repeat(scores[:, None], 17, axis=1),
        ),
        gt_instances={},
        **kwargs,
    )


def random_pose(rng, low=20, high=180):
    return rng.uniform(low, high, (17, 2))


@pytest.fixture
def write(tmp_path):
    """Write an annotation file."""

    def write_(*persons, images=(1, 2)):
        path = tmp_path / 'truth.json'
        content = dict(
            images=[dict(id=i, width=200, height=200) for i in images],
            annotations=persons,
            categories=[dict(id=1, name='person'), dict(id=2, name='dog')],
        )
        path.write_text(json.dumps(content))
        return str(path)

    return write_


def make_metric(ann_file=None, cls=ExpansionUpperBound, **kwargs):
    kwargs = {'nms_mode': 'none', 'score_mode': 'keypoint', **kwargs}
    metric = cls(ann_file=ann_file, **kwargs)
    metric.dataset_meta = copy.deepcopy(META)
    return metric


def evaluate(metric, *samples):
    metric.process([], samples)
    found = metric.evaluate(len(samples))
    return {key.replace('coco/', '', 1): v for key, v in found.items()}


@pytest.fixture
def moved(write, tmp_path):
    """The poses of a run, before and after, and the metrics."""

    def run(persons, *samples, ksize=11, **kwargs):
        prefix = str(tmp_path / 'result')
        metric = make_metric(
            write(*persons), ksizes=ksize, outfile_prefix=prefix, **kwargs
        )
        metrics = evaluate(metric, *samples)
        poses = []
        for middle in ('', f'.upper_bound_k{ksize}'):
            with open(f'{prefix}{middle}.keypoints.json') as f:
                poses.append(json.load(f))
        before, after = poses
        for a, b in zip(before, after, strict=True):
            assert a['score'] == b['score'] and a['image_id'] == b['image_id']
        return *(
            np.array([p['keypoints'] for p in found]).reshape(-1, 17, 3)
            for found in poses
        ), metrics

    return run


def test_plain_metrics_are_those_of_mmpose(write):
    rng = np.random.default_rng(0)
    truth = [random_pose(rng) for _ in range(6)]
    file = write(*(person(i, 1 + i % 2, pose) for i, pose in enumerate(truth)))
    noisy = [pose + rng.normal(0, 5, pose.shape) for pose in truth]
    samples = [
        sample(1, noisy[::2], score=[0.9, 0.5, 0.7]),
        sample(2, noisy[1::2], score=[0.8, 0.4, 0.3]),
    ]
    plain = evaluate(make_metric(file, CocoMetric), *samples)
    sizes = (1, 3, 5, 11)
    found = evaluate(make_metric(file, ksizes=sizes), *samples)
    assert {key: found[key] for key in plain} == plain
    assert len(found) == 5 * len(plain)
    # The keypoint itself is all of a window of one point.
    for key, value in plain.items():
        assert found[f'upper_bound_k1/{key}'] == value
    values = [found[f'upper_bound_k{k}/AP'] for k in sizes]
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] <= 1

    built = METRICS.build(dict(type='ExpansionUpperBound', ann_file=file))
    built.dataset_meta = META
    assert built.ksizes == (11,) and built.match == 'sum'
    built.process([], samples)
    assert 'coco/upper_bound_k11/AP' in built.evaluate(2)


@pytest.mark.parametrize('pixel', [1.0, 2.5])
def test_window_is_that_of_the_network_input(moved, pixel):
    truth = random_pose(np.random.default_rng(1))
    # Three steps to the left and two down, in each keypoint's grid.
    steps = np.array([-3, 2]) * SPACING[:, None] * pixel
    pose = (truth + steps).astype(np.float32)
    persons = [person(1, 1, truth, area=100.0)]
    before, after, metrics = moved(
        persons, sample(1, [pose], pixel=pixel), ksize=7
    )
    np.testing.assert_array_equal(before[0, :, :2], pose)
    np.testing.assert_allclose(after[0, :, :2], truth, atol=1e-4)
    np.testing.assert_allclose(after[..., 2], 0.9, rtol=1e-6)
    assert metrics['AP'] == 0
    assert metrics['upper_bound_k7/AP'] == pytest.approx(1)

    # One step remains.
    _, after, _ = moved(persons, sample(1, [pose], pixel=pixel), ksize=5)
    np.testing.assert_allclose(
        after[0, :, :2] - truth,
        np.outer(SPACING, [-1, 0]) * pixel,
        atol=1e-4,
    )
    # 1 px for every keypoint
    _, after, _ = moved(
        persons,
        sample(1, [pose], pixel=pixel),
        ksize=5,
        scale_by_sigma=False,
    )
    np.testing.assert_allclose(
        pose - after[0, :, :2], np.tile([-2, 2], (17, 1)) * pixel, atol=1e-4
    )
    # Other sigmas, other spacing.
    _, after, _ = moved(
        persons, sample(1, [pose], pixel=pixel), ksize=3,
        sigmas=[0.1] + 16 * [0.2],
    )  # fmt: skip
    distance = np.linalg.norm(pose - after[0, :, :2], axis=-1) / pixel
    np.testing.assert_allclose(
        distance, math.sqrt(2) * np.array([1] + 16 * [2]), atol=1e-4
    )


@pytest.mark.parametrize('match', ['sum', 'best'])
def test_moved_poses_are_those_of_loops(moved, match):
    rng = np.random.default_rng(2)
    truth = [random_pose(rng, 60, 100) for _ in range(3)]
    visible = [rng.choice([0, 1, 2], 17) for _ in truth]
    areas = [900.0, 2500, 6000]
    persons = [
        person(i, 1, *p) for i, p in enumerate(zip(truth, visible, areas))
    ]
    poses = np.array(
        [random_pose(rng, 60, 100) for _ in range(2)]
        + [t + rng.normal(0, 9, t.shape) for t in truth]
    ).astype(np.float32)
    _, after, _ = moved(persons, sample(1, poses), ksize=3, match=match)

    for pose, found in zip(poses.astype(float), after):
        best = None
        for t, v, area in zip(truth, visible, areas):
            score, way = 0, pose.copy()
            for k in range(17):
                if v[k] == 0:
                    continue
                similar = {}
                for dy in (-SPACING[k], 0, SPACING[k]):
                    for dx in (-SPACING[k], 0, SPACING[k]):
                        point = (pose[k, 0] + dx, pose[k, 1] + dy)
                        d = math.dist(point, t[k])
                        similar[point] = math.exp(
                            -(d**2) / (8 * SIGMAS[k] ** 2 * area)
                        )
                way[k] = max(similar, key=similar.get)
                if match == 'sum':
                    score += sum(similar.values())
                else:
                    score += max(similar.values()) / (v > 0).sum()
            if best is None or score > best[0]:
                best = score, way
        np.testing.assert_allclose(found[:, :2], best[1], atol=1e-5)


def test_what_has_no_truth_stays(moved):
    rng = np.random.default_rng(3)
    truth = random_pose(rng)
    labelled = rng.permutation(17) < 9
    pose = (truth + 2 * SPACING[:, None]).astype(np.float32)
    persons = [
        person(1, 1, truth, np.where(labelled, 1, 0)),
        person(2, 2, truth, 0),
        person(3, 2, truth, iscrowd=1),
        person(4, 2, truth, category_id=2),
    ]
    before, after, _ = moved(persons, sample(1, [pose]), sample(2, [pose]))
    change = (before != after).any(axis=2)
    np.testing.assert_array_equal(change[0], labelled)
    assert not change[1].any()
    np.testing.assert_array_equal(before, np.stack([before[0]] * 2))


def test_each_category_has_its_own_persons(moved):
    truth = random_pose(np.random.default_rng(4))
    persons = [
        person(1, 1, truth),
        person(2, 1, truth + 3, category_id=2),
    ]
    samples = [
        sample(1, [truth + 1.5], id_=i, category_id=np.array(i))
        for i in (1, 2)
    ]
    _, after, _ = moved(persons, *samples)
    for found, there in zip(after, (truth, truth + 3)):
        distance = abs(found[:, :2] - there).max(axis=1)
        assert (distance <= SPACING / 2 + 1e-4).all()


def test_nms_takes_place_once(moved):
    rng = np.random.default_rng(5)
    truth = random_pose(rng)
    persons = [person(1, 1, truth, area=2000.0)]
    # The second is nearly the first one; the third is not, until it moves.
    poses = [truth, truth + 0.1, truth + SPACING[:, None] * 4]
    samples = [
        sample(1, [pose], id_=i, score=0.9 - 0.1 * i)
        for i, pose in enumerate(poses)
    ]
    for s in samples:
        s['gt_instances'] = dict(bbox_scales=np.array([[40.0, 50.0]]))
    for mode in ('oks_nms', 'soft_oks_nms'):
        kwargs = dict(nms_mode=mode, score_mode='bbox_keypoint')
        before, after, metrics = moved(persons, *samples, **kwargs)
        number = 2 if mode == 'oks_nms' else 3
        assert len(before) == len(after) == number
        np.testing.assert_allclose(
            after[:, :, :2],
            np.stack([truth] * number),
            atol=0.51 * SPACING.max(),
        )
        # Only one of them counts.
        assert metrics['AP'] == metrics[f'{BOUND}AP'] == pytest.approx(1)


def test_samples_of_an_image_have_their_own_scales(moved):
    truth = random_pose(np.random.default_rng(6))
    pose = truth + 8 * SPACING[:, None]
    samples = [
        sample(1, [pose], id_=i, pixel=pixel)
        for i, pixel in enumerate((1.0, 2.0))
    ]
    # The sample that fills up a distributed batch is dropped.
    before, after, _ = moved([person(1, 1, truth)], *samples, samples[0])
    assert len(before) == 2
    step = np.linalg.norm(after - before, axis=2) / math.sqrt(2)
    np.testing.assert_allclose(step[0], 5 * SPACING, rtol=1e-5)
    np.testing.assert_allclose(step[1], 8 * SPACING, rtol=1e-5)


@pytest.mark.parametrize(
    ('use_area', 'expected'), [(True, [900, 70]), (False, [1060, 53])]
)
def test_areas_of_the_matched_persons(moved, monkeypatch, use_area, expected):
    """Without their own, 0.53 of 40 x 50 and of 10 x 10 px, as in COCO."""
    pose = random_pose(np.random.default_rng(0))
    persons = [
        person(1, 1, pose, area=900.0, bbox=[20, 30, 40, 50]),
        person(2, 1, pose, area=70.0, bbox=[20, 30, 10, 10]),
    ]
    seen = []
    encode = KeypointExpansion.encode
    monkeypatch.setattr(
        KeypointExpansion,
        'encode',
        lambda self, *args: seen.append(args[3]) or encode(self, *args),
    )
    moved(persons, sample(1, [pose]), use_area=use_area)
    (areas,) = seen
    assert areas.tolist() == pytest.approx(expected, rel=1e-12)


def test_without_an_annotation_file():
    rng = np.random.default_rng(7)
    truth = [random_pose(rng) for _ in range(2)]
    # Each sample of a top-down model knows its own person only, but the
    # poses have been mixed up.
    samples = [
        sample(1, [truth[1 - i] + SPACING[:, None]], id_=i,
               raw_ann_info=person(i, 1, truth[i], area=50.0))
        for i in (0, 1)
    ]  # fmt: skip
    metric = make_metric()
    metric.dataset_meta['CLASSES'] = [dict(id=1, name='person')]
    metrics = evaluate(metric, *samples)
    assert metrics['AP'] < 0.5
    assert metrics[f'{BOUND}AP'] == pytest.approx(1)


def test_keypoints_of_another_dataset(write):
    """Converted once, predictions and truth."""
    truth = random_pose(np.random.default_rng(8))
    converter = dict(
        type='KeypointConverter',
        num_keypoints=14,
        mapping=[(k, 13 - k) for k in range(14)],
    )
    metric = make_metric(
        write(person(1, 1, truth, area=50.0)), ksizes=[1, 11],
        gt_converter=converter, pred_converter=converter,
    )  # fmt: skip
    metrics = evaluate(metric, sample(1, [truth + SPACING[:, None]]))
    assert metrics['AP'] == metrics['upper_bound_k1/AP'] < 0.9
    assert metrics[f'{BOUND}AP'] == pytest.approx(1)


def test_results_are_all_that_is_kept(write):
    """Those of one process are evaluated by another."""
    rng = np.random.default_rng(9)
    truth = random_pose(rng)
    file = write(person(1, 1, truth), person(2, 2, truth))
    samples = [sample(i, [truth + rng.normal(0, 3, (17, 2))]) for i in (1, 2)]
    first, second = make_metric(file), make_metric(file)
    expected = evaluate(make_metric(file), *samples)
    first.process([], samples[:1])
    second.process([], samples[1:])
    parts = pickle.dumps(first.results + second.results)
    assert len(parts) < 3000
    found = make_metric(file).compute_metrics(pickle.loads(parts))
    assert dict(found) == expected


def test_nobody_is_found(write):
    file = write(person(1, 1, random_pose(np.random.default_rng(0))))
    nobody = sample(1, np.zeros((0, 17, 2)))
    for samples in ([], [nobody]):
        metric = make_metric(file)
        metric.process([], samples)
        metrics = metric.compute_metrics(metric.results)
        assert metrics['AP'] == metrics[f'{BOUND}AP'] == 0


@pytest.mark.parametrize('key', ['input_size', 'input_scale'])
def test_samples_must_tell_their_scale(write, key):
    pose = random_pose(np.random.default_rng(0))
    wrong = sample(1, [pose])
    del wrong[key]
    metric = make_metric(write(person(1, 1, pose)))
    message = f"needs '{key}' .* PackPoseInputs must have .* meta_keys"
    with pytest.raises(InputError, match=message):
        metric.process([], [wrong])
    assert not metric.results


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(ksizes=4), 'ksize must be odd, got 4'),
        (dict(ksizes=[3, 0]), r'ksizes\[1\] must .* at least 1, got 0'),
        (dict(sigmas=[0.1, 0]), r'sigmas\[1\] must .* got 0'),
        (dict(match='mean'), "match must be one of .*, got 'mean'"),
        (dict(scale_by_sigma='no'), "scale_by_sigma must be .*, got 'no'"),
        (dict(format_only=True, outfile_prefix='a'), 'format_only cannot be'),
        (dict(nms_mode='none', score_mode='x'), "'bbox_rle', but got x"),
    ],
)
def test_refuses_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ExpansionUpperBound(**kwargs)


def test_refuses_sigmas_of_another_dataset(write):
    pose = random_pose(np.random.default_rng(0))
    metric = make_metric(write(person(1, 1, pose)), sigmas=[0.1] * 14)
    with pytest.raises(ValueError, match='each of 17 keypoints, got 14'):
        metric.process([], [sample(1, [pose])])
    metric = make_metric(write(person(1, 1, pose)))
    metric.dataset_meta['sigmas'] = np.zeros(0)
    with pytest.raises(ValueError, match='each of 17 keypoints, got 0'):
        metric.process([], [sample(1, [pose])])
