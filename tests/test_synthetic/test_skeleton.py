import numpy as np
import pytest

from mmpose_ext.datasets.lip_dataset import LIP_KEYPOINTS
from mmpose_ext.synthetic.skeleton import (
    COCO_KEYPOINTS,
    LIMITS,
    Body,
    clip_angles,
    forward_kinematics,
    sample_angles,
    sample_body,
    view_matrix,
)

STRAIGHT = clip_angles({})


def seen(points, yaw, pitch=0.0, roll=0.0):
    view = view_matrix(yaw, pitch, roll)
    return {name: view @ point for name, point in points.items()}


def distance(points, a, b):
    return np.linalg.norm(points[a] - points[b])


@pytest.mark.parametrize('seed', range(4))
def test_limb_lengths_do_not_depend_on_the_pose(seed):
    rng = np.random.default_rng(seed)
    body = sample_body(rng)
    points, frames = forward_kinematics(body, sample_angles(rng)[0])
    points = seen(points, *rng.uniform(-180, 180, 3))
    expected = {
        ('pelvis', 'lumbar'): body.abdomen,
        ('lumbar', 'thorax'): body.chest,
        ('upper_neck', 'head_top'): body.head,
        ('left_shoulder', 'right_shoulder'): 2 * body.shoulder,
        ('left_hip', 'right_hip'): 2 * body.hip,
    }
    for side in ('left', 'right'):
        expected[f'{side}_shoulder', f'{side}_elbow'] = body.upper_arm
        expected[f'{side}_elbow', f'{side}_wrist'] = body.forearm
        expected[f'{side}_hip', f'{side}_knee'] = body.thigh
        expected[f'{side}_knee', f'{side}_ankle'] = body.shin
    for (a, b), length in expected.items():
        assert distance(points, a, b) == pytest.approx(length), (a, b)
    for frame in frames.values():
        np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(frame) == pytest.approx(1)


def test_standing_height_is_the_unit():
    points, _ = forward_kinematics(Body(), STRAIGHT)
    assert set(COCO_KEYPOINTS) | set(LIP_KEYPOINTS) <= set(points)
    height = points['head_top'][1] - points['left_ankle'][1]
    # The sole lies below the ankle.
    assert height == pytest.approx(0.96, abs=0.02)
    assert Body(head=0.2).head_radii[1] == pytest.approx(0.106)


def test_yaw_turns_the_person():
    points, _ = forward_kinematics(Body(), STRAIGHT)
    front, back, side = seen(points, 0), seen(points, 180), seen(points, 90)
    for part in ('eye', 'ear', 'shoulder', 'elbow', 'wrist', 'hip', 'ankle'):
        left, right = f'left_{part}', f'right_{part}'
        assert front[left][0] > front[right][0]
        assert back[left][0] < back[right][0]
        np.testing.assert_allclose(front[left][:2] * (-1, 1), back[left][:2])
    # The nose is before the head from the front, behind it from the back.
    assert front['nose'][2] < front['head_center'][2]
    assert back['nose'][2] > back['head_center'][2]
    # At 90 degrees the person looks to the right of the image, and its left
    # is away from the camera.
    assert side['nose'][0] > side['head_center'][0]
    assert side['left_toe'][0] > side['left_ankle'][0]
    assert side['left_shoulder'][2] > side['right_shoulder'][2]
    # From a right-handed frame (left, up, forward) into one whose third
    # axis points away from the camera, right-handed as well.
    view = view_matrix(30, 10, 5)
    np.testing.assert_allclose(view @ view.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(view) == pytest.approx(1)


def test_angles_move_the_limbs_the_natural_way():
    body = Body()
    angles = dict(
        left_shoulder_raise=90,
        right_shoulder_swing=90,
        left_hip_swing=90,
        left_knee=90,
    )
    straight, _ = forward_kinematics(body, STRAIGHT)
    bent, _ = forward_kinematics(body, {**STRAIGHT, 'spine_bend': 45})
    moved, _ = forward_kinematics(body, {**STRAIGHT, **angles})
    # (left, up, forward)
    assert bent['head_top'][2] > straight['head_top'][2] + 0.2
    for end, start, vector in (
        ('left_elbow', 'left_shoulder', (body.upper_arm, 0, 0)),
        ('right_elbow', 'right_shoulder', (0, 0, body.upper_arm)),
        ('left_knee', 'left_hip', (0, 0, body.thigh)),
        ('left_ankle', 'left_knee', (0, -body.shin, 0)),
    ):
        limb = moved[end] - moved[start]
        np.testing.assert_allclose(limb, vector, atol=1e-9, err_msg=end)
    # Elbows bend forwards, knees backwards.
    angles = {**STRAIGHT, 'left_elbow': 60, 'left_knee': 60}
    points, _ = forward_kinematics(body, angles)
    assert points['left_wrist'][2] > points['left_elbow'][2] + 0.1
    assert points['left_ankle'][2] < points['left_knee'][2] - 0.1


def test_mirrored_angles_give_the_mirrored_figure():
    rng = np.random.default_rng(3)
    angles = sample_angles(rng)[0]
    swap = {'left': 'right', 'right': 'left'}

    def other(name):
        side, _, rest = name.partition('_')
        return f'{swap[side]}_{rest}' if side in swap else name

    odd = ('spine_lean', 'spine_twist', 'head_tilt', 'head_turn')
    mirrored = {
        other(name): -value if name in odd else value
        for name, value in angles.items()
    }
    points, _ = forward_kinematics(Body(), angles)
    image, _ = forward_kinematics(Body(), mirrored)
    for name, point in points.items():
        np.testing.assert_allclose(
            image[other(name)], point * (-1, 1, 1), atol=1e-9
        )


def test_sampled_angles_keep_the_limits():
    activities = set()
    for seed in range(30):
        angles, activity = sample_angles(np.random.default_rng(seed))
        activities.add(activity)
        assert set(angles) == set(LIMITS)
        for name, (low, high) in LIMITS.items():
            assert low <= angles[name] <= high, name
    assert activities == {'stand', 'walk', 'sit', 'bend'}
    angles = clip_angles({'left_knee': -30, 'right_knee': 300})
    assert angles['left_knee'] == LIMITS['left_knee'][0] == 0
    assert angles['right_knee'] == LIMITS['right_knee'][1]
