import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.structures import InstanceData
from mmpose.evaluation.functional import nearby_joints_nms

from mmpose_ext.models.layers.pose_nms import (
    nearby_pose_nms,
    suppress_poses,
)

seeds = st.integers(0, 2**31)
numbers = st.integers(0, 12)
joints = st.sampled_from([1, 5, 14, 17])


def person(*, at=(0, 0), size=(30, 40), num_joints=17):
    """A pose on the diagonal of a box; by default that is 50 px long."""
    steps = np.linspace(0, 1, num_joints)[:, None]
    return np.array(at) + steps * np.array(size, float)


def crowd(seed, num, num_joints):
    """Poses around a few places, many of which match, and their scores."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 320, (2, num_joints, 2)) / 4
    noise = rng.integers(-24, 25, (num, num_joints, 2)) / 4
    poses = places[rng.integers(0, 2, num)] + noise
    # The reach of some is larger than that of those around them.
    poses[rng.random(num) < 0.3, 0] += 60
    return poses, rng.permutation(num) / 16 + 0.5


def naive_nms(keypoints, scores, dist_thr, num_joints_thr, max_instances):
    """The rule, word by word."""
    num, num_joints, _ = keypoints.shape
    kept, ignored = [], set()
    for i in range(num):
        if i in ignored:
            continue
        x, y = keypoints[i].T
        extent = ((x.max() - x.min()) ** 2 + (y.max() - y.min()) ** 2) ** 0.5
        matches = []
        for j in range(num):
            near = 0
            for k in range(num_joints):
                dx, dy = keypoints[i, k] - keypoints[j, k]
                near += (dx**2 + dy**2) ** 0.5 < dist_thr * extent
            if near > num_joints_thr or i == j:
                matches.append(j)
        best = max(matches, key=lambda j: scores[j])
        if best not in ignored:
            kept.append(best)
            ignored.update(matches)
    allowed = sorted(kept, key=lambda j: -scores[j])[:max_instances]
    return [i for i in kept if i in allowed]


@given(seed=seeds, num=numbers, num_joints=joints, limit=st.integers(1, 4))
def test_is_the_rule(seed, num, num_joints, limit):
    poses, scores = crowd(seed, num, num_joints)
    kept = nearby_pose_nms(poses, scores, max_instances=limit)
    assert np.issubdtype(kept.dtype, np.integer) and kept.ndim == 1
    expected = naive_nms(poses, scores, 0.05, num_joints // 2, limit)
    assert kept.tolist() == expected


@given(seed=seeds, num=numbers, num_joints=st.sampled_from([14, 17]))
def test_is_mmposes_where_the_scores_fall(seed, num, num_joints):
    poses, scores = crowd(seed, num, num_joints)
    scores = np.sort(scores)[::-1]
    database = [
        dict(keypoints=pose, score=score) for pose, score in zip(poses, scores)
    ]
    expected = nearby_joints_nms(database)
    assert nearby_pose_nms(poses, scores).tolist() == list(expected)


def test_suppressed_poses_suppress_no_others():
    """The second one matches all, but goes with the first one."""
    shifts = np.array([(0, 0), (2, 0), (4, 0), (2, -2)])
    poses = person() + shifts[:, None]
    assert nearby_pose_nms(poses, [2, 1, 4, 3]).tolist() == [0, 2, 3]


def test_poses_without_extent_match_only_themselves():
    poses = np.zeros((3, 17, 2))
    assert nearby_pose_nms(poses, [1, 3, 2]).tolist() == [0, 1, 2]


def test_joints_must_be_strictly_closer_and_strictly_more():
    # 0.05 of the diagonal is 2.5 px.
    first = person()
    for distance, kept in ((2.49, [0]), (2.5, [0, 1]), (2.51, [0, 1])):
        poses = np.array([first, first + np.array([distance, 0])])
        assert nearby_pose_nms(poses, [2, 1]).tolist() == kept
    for num_close, kept in ((8, [0, 1]), (9, [0])):
        second = first + 100
        second[:num_close] = first[:num_close]
        poses = np.array([first, second])
        assert nearby_pose_nms(poses, [2, 1]).tolist() == kept


def test_among_equal_scores_the_first_is_the_best():
    poses = np.repeat(person()[None], 3, axis=0)
    assert nearby_pose_nms(poses, np.ones(3)).tolist() == [0]


def test_at_most_so_many_of_the_best():
    poses = np.array([person(at=(100 * i, 0)) for i in range(40)])
    scores = np.random.default_rng(0).permutation(40)
    assert nearby_pose_nms(poses, scores).tolist() == [
        i for i in range(40) if scores[i] >= 10
    ]
    best = scores.argmax()
    assert nearby_pose_nms(poses, scores, max_instances=1).tolist() == [best]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(keypoints=np.zeros((2, 17))), r'got \(2, 17\) and \(2,\)'),
        (dict(scores=np.zeros(3)), r'got \(2, 17, 2\) and \(3,\)'),
        (dict(num_joints_thr=17), r'in \[0, 17\) for 17 joints, got 17'),
        (dict(num_joints_thr=-1), 'got -1'),
        (dict(dist_thr=0), 'dist_thr must .* got 0$'),
        (dict(max_instances=0), 'max_instances must .* got 0$'),
    ],
)
def test_refuses_wrong_arguments(kwargs, message):
    good = dict(keypoints=np.zeros((2, 17, 2)), scores=np.zeros(2))
    with pytest.raises(ValueError, match=message):
        nearby_pose_nms(**{**good, **kwargs})


TRIANGLE = np.array([[0, 0], [40, 0], [0, 30]])
SIGMAS = np.array([0.025, 0.05, 0.04])


def suppress(poses, scores, **cfg):
    """The scores of the poses (N, 3, 2) that are kept."""
    poses, scores = np.asarray(poses, float), np.asarray(scores)
    given = InstanceData(
        keypoints=poses,
        keypoint_scores=scores[:, None].repeat(3, axis=1),
        bboxes=np.concatenate([poses.min(1), poses.max(1)], axis=1),
        bbox_scores=scores,
    )
    return suppress_poses(given, cfg, SIGMAS).bbox_scores.tolist()


@pytest.mark.parametrize('kind', ['nms_dist_thr', 'nms_oks_thr'])
def test_at_most_thirty_people(kind):
    poses = TRIANGLE + 1000 * np.arange(32)[:, None, None]
    scores = np.linspace(0.9, 0.1, 32)
    for number, cfg in (
        (30, {kind: 0.05}),
        (31, {kind: 0.05, 'max_num_people': 31}),
        (32, {}),
    ):
        assert suppress(poses, scores, **cfg) == scores[:number].tolist()
    assert suppress(poses[:0], scores[:0], **{kind: 0.05}) == []


def test_how_many_joints_are_close():
    """Two of three joints are, by less than 0.1 of the diagonal of 50 px."""
    poses = [TRIANGLE, [[3, 0], [44, 0], [9, 30]]]
    scores = [0.9, 0.8]
    # 1, which is 3 // 2, is not enough to match; 2 are more.
    assert suppress(poses, scores, nms_dist_thr=0.1) == [0.9]
    cfg = dict(nms_dist_thr=0.1, nms_joints_thr=2)
    assert suppress(poses, scores, **cfg) == scores
    # 3 px are not less than 0.06 of it.
    assert suppress(poses, scores, nms_dist_thr=0.06) == scores


def test_oks_of_the_nms():
    """Of two poses 2 px apart whose boxes have 1200 px^2 each."""
    variances = 2 * (2 * SIGMAS) ** 2 * 1200
    similar = np.exp(-4 / variances).mean()
    assert 0.7 < similar < 0.9
    poses, scores = [TRIANGLE, TRIANGLE + np.array([0, 2])], [0.8, 0.9]
    for change, kept in ((1e-6, [0.9, 0.8]), (-1e-6, [0.9])):
        assert suppress(poses, scores, nms_oks_thr=similar + change) == kept
