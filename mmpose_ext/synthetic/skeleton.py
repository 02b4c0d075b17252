"""Kinematics of the toy persons: a body, its joint angles, its joints in 3D.

Everything here is in units of the standing height of the person. The body
frame has the axes (left, up, forward), all of them the person's own, with
the origin between the hips. The camera frame has the axes of the image,
(right, down, away from the camera).
"""

from dataclasses import dataclass
from math import cos, radians, sin
from typing import Dict, Tuple

import numpy as np
from mmengine.hub import get_config
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from .chance import pick

_COCO = parse_pose_metainfo(
    get_config('mmpose::_base_/datasets/coco.py').dataset_info
)
COCO_KEYPOINTS = tuple(_COCO['keypoint_id2name'].values())
# In COCO's files, indices start at one.
COCO_SKELETON = tuple((a + 1, b + 1) for a, b in _COCO['skeleton_links'])

# Range of every angle in degrees; zero everywhere is a person standing
# straight with hanging arms. Angles of limbs exist once per side.
TRUNK_LIMITS = {
    'spine_bend': (-15, 70),  # forwards
    'spine_lean': (-20, 20),  # towards the left
    'spine_twist': (-30, 30),  # chest against pelvis, towards the left
    'head_nod': (-25, 35),  # forwards
    'head_tilt': (-20, 20),
    'head_turn': (-55, 55),
}
LIMB_LIMITS = {
    'shoulder_raise': (-5, 170),  # sideways
    'shoulder_swing': (-45, 160),  # forwards
    'arm_turn': (-20, 75),  # about its own axis, inwards
    'elbow': (2, 140),
    'hip_swing': (-25, 105),  # forwards
    'hip_spread': (-5, 40),
    'knee': (0, 125),
    'ankle': (-35, 30),  # toes downwards is positive
}
LIMITS = {
    **TRUNK_LIMITS,
    **{
        f'{side}_{name}': limits
        for side in ('left', 'right')
        for name, limits in LIMB_LIMITS.items()
    },
}

Angles = Dict[str, float]
Points = Dict[str, np.ndarray]


@dataclass(frozen=True)
class Body:
    """Lengths of one person as fractions of the standing height."""

    shin: float = 0.235
    thigh: float = 0.24
    abdomen: float = 0.13
    chest: float = 0.152
    neck: float = 0.058
    head: float = 0.145
    shoulder: float = 0.098  # half of the width between the joints
    hip: float = 0.056
    upper_arm: float = 0.165
    forearm: float = 0.14
    hand: float = 0.05
    foot: float = 0.095

    @property
    def head_radii(self) -> np.ndarray:
        """Half axes of the head (left, up, forward)."""
        return self.head * np.array([0.42, 0.53, 0.49])


def sample_body(rng: np.random.Generator) -> Body:
    """Draw the proportions of a person, from a child to a tall adult."""
    child = rng.random() < 0.15
    head = rng.uniform(0.165, 0.19) if child else rng.uniform(0.135, 0.152)
    # A larger head leaves less for the rest.
    rest = (1 - head) / (1 - 0.145)
    leg = rest * rng.uniform(0.95, 1.05)
    trunk = rest * rng.uniform(0.96, 1.04)
    arm = rest * rng.uniform(0.95, 1.05)
    shoulder = rng.uniform(0.085, 0.108)
    return Body(
        shin=0.235 * leg,
        thigh=0.24 * leg,
        abdomen=0.13 * trunk,
        chest=0.152 * trunk,
        neck=0.058 * trunk,
        head=head,
        shoulder=shoulder,
        hip=shoulder * rng.uniform(0.54, 0.62),
        upper_arm=0.165 * arm,
        forearm=0.14 * arm,
        hand=0.05 * arm,
    )


def clip_angles(angles: Angles) -> Angles:
    """Bring every angle (degrees) into its range."""
    return {
        name: min(max(angles.get(name, 0.0), low), high)
        for name, (low, high) in LIMITS.items()
    }


def _stand(rng: np.random.Generator) -> Angles:
    angles = {}
    for side in ('left', 'right'):
        angles[f'{side}_shoulder_raise'] = rng.normal(12, 8)
        angles[f'{side}_shoulder_swing'] = rng.normal(5, 12)
        angles[f'{side}_arm_turn'] = rng.normal(20, 15)
        angles[f'{side}_elbow'] = abs(rng.normal(10, 22))
        angles[f'{side}_hip_swing'] = rng.normal(2, 5)
        angles[f'{side}_hip_spread'] = rng.normal(5, 5)
        angles[f'{side}_knee'] = abs(rng.normal(0, 7))
    return angles


def _walk(rng: np.random.Generator) -> Angles:
    stride = (2 * rng.integers(2) - 1) * rng.uniform(12, 38)
    angles = {'spine_twist': stride * 0.3, 'spine_bend': rng.uniform(0, 15)}
    for side, swing in (('left', stride), ('right', -stride)):
        angles[f'{side}_hip_swing'] = swing + rng.normal(4, 3)
        angles[f'{side}_hip_spread'] = rng.normal(2, 2)
        angles[f'{side}_knee'] = rng.uniform(2, 15) + max(-swing, 0) * 1.2
        angles[f'{side}_shoulder_raise'] = rng.normal(9, 5)
        angles[f'{side}_shoulder_swing'] = -swing + rng.normal(0, 6)
        angles[f'{side}_elbow'] = rng.uniform(8, 60)
        angles[f'{side}_arm_turn'] = rng.normal(15, 8)
    return angles


def _sit(rng: np.random.Generator) -> Angles:
    angles = {'spine_bend': rng.normal(5, 8)}
    hip = rng.uniform(72, 92)
    for side in ('left', 'right'):
        angles[f'{side}_hip_swing'] = hip + rng.normal(0, 4)
        angles[f'{side}_hip_spread'] = rng.uniform(2, 16)
        angles[f'{side}_knee'] = hip + rng.normal(0, 10)
        angles[f'{side}_shoulder_raise'] = rng.normal(12, 6)
        angles[f'{side}_shoulder_swing'] = rng.normal(25, 12)
        angles[f'{side}_elbow'] = rng.uniform(20, 90)
        angles[f'{side}_arm_turn'] = rng.normal(25, 15)
    return angles


def _bend(rng: np.random.Generator) -> Angles:
    angles = {'spine_bend': rng.uniform(22, 60), 'head_nod': rng.normal(-8, 8)}
    crouch = rng.uniform(5, 45)
    for side in ('left', 'right'):
        angles[f'{side}_hip_swing'] = crouch + rng.normal(3, 5)
        angles[f'{side}_hip_spread'] = rng.uniform(3, 16)
        angles[f'{side}_knee'] = crouch * 1.7 + rng.normal(0, 4)
        angles[f'{side}_shoulder_raise'] = rng.normal(10, 6)
        angles[f'{side}_shoulder_swing'] = rng.uniform(20, 70)
        angles[f'{side}_elbow'] = rng.uniform(5, 60)
    return angles


def _raise_one(rng: np.random.Generator, angles: Angles, side: str) -> None:
    """Lift one arm: sideways, forwards, waving, or hand on the hip."""
    kind = rng.integers(4)
    if kind == 0:
        raised, swing, elbow = rng.uniform(50, 165), 0.0, rng.uniform(2, 50)
    elif kind == 1:
        raised, swing, elbow = 8.0, rng.uniform(45, 150), rng.uniform(2, 60)
    elif kind == 2:
        raised, swing = rng.uniform(60, 100), rng.uniform(10, 30)
        elbow = rng.uniform(60, 120)
    else:
        raised, swing = rng.uniform(32, 48), rng.uniform(-25, -10)
        elbow = rng.uniform(75, 105)
    turn = {2: rng.uniform(-20, 0), 3: rng.uniform(60, 75)}
    angles[f'{side}_shoulder_raise'] = raised
    angles[f'{side}_shoulder_swing'] = swing
    angles[f'{side}_elbow'] = elbow
    angles[f'{side}_arm_turn'] = turn.get(int(kind), rng.normal(10, 15))


def sample_angles(rng: np.random.Generator) -> Tuple[Angles, str]:
    """Draw the pose of a person.

    Returns:
        tuple: The angles in degrees, inside :data:`LIMITS`, and the name of
        the activity: ``'stand'``, ``'walk'``, ``'sit'`` or ``'bend'``.
    """
    names = ('stand', 'walk', 'sit', 'bend')
    activity = names[pick(rng, (0.46, 0.32, 0.12, 0.10))]
    make = dict(stand=_stand, walk=_walk, sit=_sit, bend=_bend)[activity]
    angles = {
        'spine_bend': rng.normal(3, 4),
        'spine_lean': rng.normal(0, 4),
        'spine_twist': rng.normal(0, 6),
        'head_nod': rng.normal(4, 8),
        'head_tilt': rng.normal(0, 6),
        'head_turn': rng.normal(0, 18),
        **make(rng),
    }
    for side in ('left', 'right'):
        if rng.random() < (0.28 if activity != 'bend' else 0.1):
            _raise_one(rng, angles, side)
        # Keeps the sole on the ground as far as the ankle allows it.
        angles[f'{side}_ankle'] = (
            angles[f'{side}_hip_swing'] - angles[f'{side}_knee']
        )
    return clip_angles(angles), activity


def _pitch(degrees: float) -> np.ndarray:
    """Rotation about the left axis: up goes forward."""
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _roll(degrees: float) -> np.ndarray:
    """Rotation about the forward axis: down goes left."""
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _turn(degrees: float) -> np.ndarray:
    """Rotation about the up axis: forward goes left."""
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _limbs(
    body: Body,
    a: Angles,
    side: str,
    sign: int,
    thorax: np.ndarray,
    chest: np.ndarray,
) -> Points:
    """Joints of an arm and a leg; ``sign`` is 1 on the left, -1 right."""
    up = np.array([0.0, 1.0, 0.0])
    shoulder = thorax + chest @ np.array([sign * body.shoulder, 0, 0])
    arm = (
        chest
        @ _roll(sign * a[f'{side}_shoulder_raise'])
        @ _pitch(-a[f'{side}_shoulder_swing'])
        @ _turn(-sign * a[f'{side}_arm_turn'])
    )
    elbow = shoulder - arm @ up * body.upper_arm
    forearm = arm @ _pitch(-a[f'{side}_elbow'])
    wrist = elbow - forearm @ up * body.forearm
    hip = np.array([sign * body.hip, 0, 0])
    leg = _roll(sign * a[f'{side}_hip_spread'])
    leg = leg @ _pitch(-a[f'{side}_hip_swing'])
    knee = hip - leg @ up * body.thigh
    shin = leg @ _pitch(a[f'{side}_knee'])
    ankle = knee - shin @ up * body.shin
    foot = shin @ _pitch(a[f'{side}_ankle'])
    toe = body.foot * np.array([sign * 0.15, -0.28, 0.95])
    return {
        f'{side}_shoulder': shoulder,
        f'{side}_elbow': elbow,
        f'{side}_wrist': wrist,
        f'{side}_hand': wrist - forearm @ up * body.hand,
        f'{side}_hip': hip,
        f'{side}_knee': knee,
        f'{side}_ankle': ankle,
        f'{side}_toe': ankle + foot @ toe,
    }


def forward_kinematics(body: Body, angles: Angles) -> Tuple[Points, Points]:
    """Joints of a body in a pose.

    Args:
        body: The lengths.
        angles: Degrees by the names of :data:`LIMITS`.

    Returns:
        tuple: Points by name, each of shape (3, ) in the body frame: the
        COCO keypoints, ``pelvis``, ``lumbar``, ``thorax``, ``upper_neck``,
        ``head_top``, ``head_center`` and ``{left,right}_{hand,toe}``; and
        the rotations ``pelvis``, ``chest`` and ``head`` of shape (3, 3),
        whose columns are the part's own left, up and forward.
    """
    a = angles
    up = np.array([0.0, 1.0, 0.0])
    # The lower spine takes part of the movement, the upper one all of it.
    lower = _pitch(a['spine_bend'] * 0.6) @ _roll(-a['spine_lean'] * 0.5)
    chest = (
        _turn(a['spine_twist'])
        @ _pitch(a['spine_bend'])
        @ _roll(-a['spine_lean'])
    )
    head = (
        chest
        @ _turn(a['head_turn'])
        @ _pitch(a['head_nod'] - 0.4 * a['spine_bend'])
        @ _roll(-a['head_tilt'])
    )
    p = {'pelvis': np.zeros(3)}
    p['lumbar'] = lower @ up * body.abdomen
    p['thorax'] = p['lumbar'] + chest @ up * body.chest
    p['upper_neck'] = p['thorax'] + chest @ np.array(
        [0, body.neck * 0.97, body.neck * 0.24]
    )
    p['head_top'] = p['upper_neck'] + head @ up * body.head

    radii = body.head_radii
    p['head_center'] = p['upper_neck'] + head @ np.array(
        [0, body.head - radii[1], 0.08 * body.head]
    )
    for name, direction in FACE.items():
        p[name] = p['head_center'] + head @ (radii * direction)

    for side, sign in (('left', 1), ('right', -1)):
        p.update(_limbs(body, a, side, sign, p['thorax'], chest))
    return p, {'pelvis': lower, 'chest': chest, 'head': head}


# Where the face's keypoints lie on the head, in its half axes.
FACE = {
    'nose': np.array([0.0, -0.14, 1.08]),
    'left_eye': np.array([0.40, 0.13, 0.90]),
    'right_eye': np.array([-0.40, 0.13, 0.90]),
    'left_ear': np.array([1.0, -0.04, -0.05]),
    'right_ear': np.array([-1.0, -0.04, -0.05]),
}


def view_matrix(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation from the body frame into the camera frame.

    Args:
        yaw: Degrees. 0: the person faces the camera, so that its left is on
            the right of the image; 90: it looks to the right of the image;
            180: it is seen from behind.
        pitch: Degrees by which the camera looks down.
        roll: Degrees by which the image is turned clockwise.
    """
    c, s = cos(radians(yaw)), sin(radians(yaw))
    place = np.array([[c, 0, s], [0, -1, 0], [s, 0, -c]])
    c, s = cos(radians(pitch)), sin(radians(pitch))
    look_down = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = cos(radians(roll)), sin(radians(roll))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return turn @ look_down @ place
