import numpy as np
import pytest

from mmpose_ext.synthetic.canvas import Canvas
from mmpose_ext.synthetic.look import sample_look
from mmpose_ext.synthetic.person import draw_person
from mmpose_ext.synthetic.scene import (
    KEYPOINTS,
    Figure,
    _cover,
    _visibility,
    compose,
)
from mmpose_ext.synthetic.skeleton import (
    Body,
    clip_angles,
    forward_kinematics,
    view_matrix,
)

WIDTH, HEIGHT = 256, 192


@pytest.fixture(scope='module')
def scenes():
    return [
        compose(np.random.default_rng([0, 0, i]), WIDTH, HEIGHT)
        for i in range(40)
    ]


def standing(yaw, center=(128, 90), scale=160):
    """Flags of a person standing straight on an empty canvas."""
    ones = np.ones((HEIGHT, WIDTH), np.float32)
    planes = np.zeros((3, HEIGHT, WIDTH), np.float32)
    canvas = Canvas(planes, (0, -1, -1), 0.5, ones)
    view = view_matrix(yaw, 0, 0)
    points, frames = forward_kinematics(Body(), clip_angles({}))
    points = {
        name: view @ point * scale + (*center, 0)
        for name, point in points.items()
    }
    frames = {name: view @ frame for name, frame in frames.items()}
    layer = canvas.start_layer()
    look = sample_look(np.random.default_rng(5))
    draw_person(canvas, points, frames, Body(), look, scale)
    keypoints = np.stack([points[name] for name in KEYPOINTS])
    flags = _visibility(canvas, keypoints, scale)
    figure = Figure(layer, keypoints[:, :2], flags)
    return canvas, figure, dict(zip(KEYPOINTS, flags))


def test_front_shows_the_face_and_back_hides_it():
    face = ('nose', 'left_eye', 'right_eye')
    body = ('left_shoulder', 'right_shoulder', 'left_hip', 'right_ankle')
    flags = standing(0)[2]
    assert [flags[name] for name in face + body] == [2] * 7
    flags = standing(180)[2]
    assert [flags[name] for name in face] == [1] * 3
    assert [flags[name] for name in body] == [2] * 4


def test_profile_hides_the_far_side():
    flags = standing(90)[2]  # its left is away from the camera
    for part in ('ear', 'shoulder', 'hip'):
        assert flags[f'left_{part}'] == 1, part
        assert flags[f'right_{part}'] == 2, part
    assert flags['nose'] == 2


def test_outside_is_zero():
    flags = standing(0, center=(128, 160))[2]
    assert flags['left_ankle'] == flags['right_knee'] == 0
    assert flags['nose'] == 2
    flags = standing(0, center=(0, 90))[2]
    assert flags['right_shoulder'] == 0 and flags['left_shoulder'] == 2


def test_cover_marks_what_is_drawn_later_only():
    canvas, figure, _ = standing(0)
    name = KEYPOINTS.index
    x, y = figure.keypoints[name('left_wrist')]
    before = figure.visible.copy()
    _cover(figure, np.where(canvas.owner == 0, figure.layer - 1, 0))
    np.testing.assert_array_equal(figure.visible, before)
    canvas.start_layer()
    canvas.ellipsoid(np.array([x, y, 0]), (6, 6, 6), np.eye(3), np.ones(3))
    _cover(figure, canvas.owner)
    changed = np.flatnonzero(figure.visible != before)
    assert name('left_wrist') in changed
    assert name('right_wrist') not in changed
    assert set(figure.visible[changed]) == {1}


def test_scene_depends_on_the_seed_alone(scenes):
    other = compose(np.random.default_rng(0), 320, 400)
    assert other.image.shape == (400, 320, 3)
    again = compose(np.random.default_rng([0, 0, 3]), WIDTH, HEIGHT)
    np.testing.assert_array_equal(again.image, scenes[3].image)
    np.testing.assert_array_equal(again.owner, scenes[3].owner)
    assert (scenes[3].image != scenes[4].image).any()


def test_scenes_have_one_to_four_persons_about_two(scenes):
    counts = [sum(not f.crowd for f in scene.figures) for scene in scenes]
    assert set(counts) == {1, 2, 3, 4}
    assert 1.6 < np.mean(counts) < 2.5
    assert any(f.crowd for scene in scenes for f in scene.figures)


def test_flags_say_where_a_keypoint_is(scenes):
    every = []
    for scene in scenes:
        assert scene.image.shape == (HEIGHT, WIDTH, 3)
        assert scene.image.dtype == np.uint8
        for figure in scene.figures:
            x, y = figure.keypoints.T
            inside = (x >= 0) & (x <= WIDTH - 1) & (y >= 0) & (y <= HEIGHT - 1)
            np.testing.assert_array_equal(figure.visible > 0, inside)
            at = np.round(figure.keypoints[figure.visible == 2]).astype(int)
            # Nothing drawn later lies over a visible keypoint.
            assert (scene.owner[at[:, 1], at[:, 0]] <= figure.layer).all()
            if not figure.crowd:
                every += figure.visible.tolist()
    share = np.bincount(every) / len(every)
    assert (share[:2] > 0.02).all() and share[2] > 0.55


def test_persons_are_seen_from_all_sides(scenes):
    left, right = map(KEYPOINTS.index, ('left_shoulder', 'right_shoulder'))
    figures = [figure for scene in scenes for figure in scene.figures]
    x = np.stack([figure.keypoints[:, 0] for figure in figures])
    assert 0.2 < np.mean(x[:, left] < x[:, right]) < 0.6


def test_visible_joints_of_the_trunk_lie_on_the_person(scenes):
    parts = [
        KEYPOINTS.index(f'{side}_{part}')
        for side in ('left', 'right')
        for part in ('shoulder', 'elbow', 'hip', 'knee')
    ]
    hits = []
    for scene in scenes:
        for figure in scene.figures:
            for part in parts:
                if figure.visible[part] == 2:
                    x, y = np.round(figure.keypoints[part]).astype(int)
                    hits.append(scene.owner[y, x] == figure.layer)
    assert np.mean(hits) > 0.98
