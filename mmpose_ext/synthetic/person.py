"""Drawing one toy person from its joints and its look."""

from typing import Callable, Dict, Tuple

import numpy as np

from .canvas import Canvas
from .look import BGR, Look
from .skeleton import FACE, Body, Points

# How far each keypoint's joint lies under the surface, in standing heights.
JOINT_DEPTH = {
    'shoulder': 0.045,
    'elbow': 0.03,
    'wrist': 0.022,
    'hip': 0.065,
    'knee': 0.042,
    'ankle': 0.03,
    'pelvis': 0.075,
    'thorax': 0.075,
    'neck': 0.04,
    'top': 0.03,
}


def _two_tone(
    near: BGR, far: BGR, limit: float
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Colour of a limb that changes where the cloth ends."""
    near, far = near[:, None, None], far[:, None, None]

    def paint(place: np.ndarray, side: np.ndarray) -> np.ndarray:
        return np.where(place < limit, near, far)

    return paint


def _trunk_paint(look: Look, count: float) -> Callable:
    """Colour of the trunk: its pattern; ``count`` periods along it."""
    top, mark = look.top[:, None, None], look.top_mark[:, None, None]

    def paint(place: np.ndarray, side: np.ndarray) -> np.ndarray:
        if look.top_pattern == 'stripes':
            marked = (place * count) % 1 < 0.4
        elif look.top_pattern == 'bars':
            marked = (side * 3) % 1 < 0.3
        elif look.top_pattern == 'checks':
            marked = ((place * count) % 1 < 0.5) ^ ((side * 2.5) % 1 < 0.5)
        else:
            marked = (np.abs(place - 0.55) < 0.22) & (np.abs(side) < 0.42)
        return np.where(marked, mark, top)

    return paint


def _face_paint(look: Look) -> Callable:
    """Colour of the head by the place on the unit sphere."""
    eye = FACE['left_eye']
    cap = look.hair_style == 'cap'
    white = np.minimum(look.skin * 0.4 + 150, 240)
    lips = look.skin * np.array([0.62, 0.6, 0.92], np.float32)

    def paint(
        left: np.ndarray, up: np.ndarray, forward: np.ndarray
    ) -> np.ndarray:
        front = forward > 0
        across = np.abs(left) - eye[0]
        from_eye = across**2 * 0.6 + (up - eye[1]) ** 2
        colour = np.empty((*left.shape, 3), np.float32)
        colour[:] = look.skin
        colour[(from_eye < 0.034) & front] = white
        dark = (from_eye < 0.014) & front
        brow = (np.abs(across) < 0.2) & (np.abs(up - 0.40) < 0.05) & front
        colour[brow] = look.hair * 0.6 + look.skin * 0.3
        colour[dark] = (34, 30, 28)
        mouth = (np.abs(left) < 0.28) & (np.abs(up + 0.52) < 0.07) & front
        if look.beard:
            colour[(up < -0.3) & (forward > 0.1)] = look.hair
        colour[mouth] = lips
        if cap:
            colour[up > 0.34] = look.top_mark
            hair = (forward < -0.15) & (up > -0.45)
            colour[hair & (up <= 0.34)] = look.hair
        elif look.hair_style != 'bald':
            hair = up * 0.64 - forward * 0.77
            colour[hair > 0.17] = look.hair
        return colour.transpose(2, 0, 1)

    return paint


def _half_width(
    frame: np.ndarray, axis: np.ndarray, wide: float, deep: float
) -> Tuple[float, float]:
    """Half extents of an elliptical cross-section, as the camera sees it.

    Args:
        frame: (3, 3) of the part in the camera frame.
        axis: (3, ) of the part.
        wide: Half axis along the part's left.
        deep: Half axis along the part's forward.

    Returns:
        tuple: Half extent across the projected axis and towards the camera.
    """
    length = max(float(np.hypot(axis[0], axis[1])), 1e-6)
    across = np.array([-axis[1], axis[0], 0]) / length
    return (
        float(
            np.hypot(wide * across @ frame[:, 0], deep * across @ frame[:, 2])
        ),
        float(np.hypot(wide * frame[2, 0], deep * frame[2, 2])),
    )


def draw_person(
    canvas: Canvas,
    points: Points,
    frames: Dict[str, np.ndarray],
    body: Body,
    look: Look,
    scale: float,
) -> None:
    """Draw a person into the current layer.

    Args:
        canvas: The canvas.
        points: Joints in the camera frame, px.
        frames: Rotations ``pelvis``, ``chest`` and ``head`` from the part
            into the camera frame.
        body: Lengths in standing heights.
        look: Colours and cut.
        scale: Standing height in px.
    """
    unit = scale * look.build
    _draw_trunk(canvas, points, frames, body, look, scale)
    for side in ('left', 'right'):
        _draw_arm(canvas, points, side, look, unit)
        _draw_leg(canvas, points, side, look, unit, scale)
    _draw_head(canvas, points, frames['head'], body, look, scale)


def _slices(frame, axis, parts):
    """Half widths of cross-sections as the camera sees them, and a depth."""
    extents = [_half_width(frame, axis, *part) for part in parts]
    return [e[0] for e in extents], max(e[1] for e in extents)


def _draw_trunk(canvas, points, frames, body, look, scale):
    unit = scale * look.build
    wide = body.shoulder / 0.098 * 0.108 * unit * look.loose
    deep = 0.07 * unit * look.loose
    waist = (wide * look.waist, deep * 0.95 * max(look.waist, 0.8))
    lumbar, thorax = points['lumbar'], points['thorax']
    chest = frames['chest']
    # A print is on the front only.
    printed = look.top_pattern == 'print'
    plain = look.top_pattern == 'plain' or (printed and chest[2, 2] > -0.4)
    radii, depth = _slices(
        chest,
        thorax - lumbar,
        [
            waist,
            (wide * (0.5 + look.waist / 2), deep),
            (wide, deep * 1.08),
            (wide * 1.02, deep),
            (wide * 0.93, deep * 0.75),
        ],
    )
    paint = look.top if plain else _trunk_paint(look, 3)
    canvas.cylinder(lumbar, thorax, radii, paint, depth, caps=0.32)
    hip = body.hip / 0.056 * 0.094 * unit
    bottom = points['pelvis'] - (lumbar - points['pelvis']) * 0.2
    radii, depth = _slices(
        frames['pelvis'],
        lumbar - bottom,
        [
            (hip * 0.92, deep * 0.95),
            (hip, deep * 1.02),
            ((hip + wide * look.waist) / 2, deep * 0.96),
            waist,
        ],
    )
    paint = _hips_paint(look, plain or printed)
    bias = -0.006 * scale
    canvas.cylinder(bottom, lumbar, radii, paint, depth, caps=0.3, bias=bias)
    if look.skirt:
        _draw_skirt(canvas, points, look, hip, scale)
    if look.backpack:
        back = -chest[:, 2] * deep * 1.25
        canvas.ellipsoid(
            (lumbar + thorax) / 2 + back + chest[:, 1] * 0.03 * scale,
            (wide * 0.68, 0.13 * scale, deep * 0.7),
            chest,
            look.shoes * 0.6 + look.top_mark * 0.4,
        )
    neck = points['upper_neck'] - thorax
    canvas.cylinder(
        thorax + neck * 0.1,
        thorax + neck * 1.25,
        [0.036 * unit, 0.031 * unit],
        look.skin * 0.93,
    )


def _hips_paint(look: Look, plain: bool) -> Callable:
    """Trousers up to the belt, and the top above it."""
    belt = 0.5
    if plain:
        return _two_tone(look.bottom, look.top, belt)
    pattern = _trunk_paint(look, 3)
    bottom = look.bottom[:, None, None]

    def paint(place: np.ndarray, side: np.ndarray) -> np.ndarray:
        return np.where(place < belt, bottom, pattern(place, side))

    return paint


def _draw_skirt(canvas, points, look, hip, scale):
    pelvis, lumbar = points['pelvis'], points['lumbar']
    left, right = points['left_knee'], points['right_knee']
    hem = pelvis + ((left + right) / 2 - pelvis) * look.skirt
    spread = np.abs(left - right)[:2].max()
    canvas.cylinder(
        lumbar + (pelvis - lumbar) * 0.5,
        hem,
        [hip * 0.95, hip * 1.1, hip * 1.12 + spread * 0.35 * look.skirt],
        look.bottom,
        0.09 * scale * look.build,
        caps=0.12,
        bias=-0.03 * scale,
    )


def _draw_arm(canvas, points, side, look, unit):
    shoulder = points[f'{side}_shoulder']
    elbow = points[f'{side}_elbow']
    wrist = points[f'{side}_wrist']
    cloth = look.loose if look.sleeve else 1.0
    upper = (
        look.top
        if look.sleeve > 1
        else _two_tone(look.top, look.skin, look.sleeve)
    )
    canvas.cylinder(
        shoulder,
        elbow,
        [0.039 * unit * cloth, 0.036 * unit * cloth, 0.028 * unit],
        upper,
    )
    lower = (
        _two_tone(look.top, look.skin, look.sleeve - 1)
        if look.sleeve > 1
        else look.skin
    )
    canvas.cylinder(
        elbow, wrist, [0.028 * unit, 0.029 * unit, 0.02 * unit], lower
    )
    canvas.cylinder(
        wrist,
        points[f'{side}_hand'],
        [0.02 * unit, 0.027 * unit, 0.017 * unit],
        look.skin,
    )


def _draw_leg(canvas, points, side, look, unit, scale):
    hip = points[f'{side}_hip']
    knee = points[f'{side}_knee']
    ankle = points[f'{side}_ankle']
    cloth = look.loose
    bare = look.skirt > 0
    if bare:
        thigh, shin = look.skin, look.skin
    else:
        thigh = (
            look.bottom
            if look.trouser > 1
            else _two_tone(look.bottom, look.skin, look.trouser)
        )
        shin = (
            _two_tone(look.bottom, look.skin, look.trouser - 1)
            if look.trouser > 1
            else look.skin
        )
    canvas.cylinder(
        hip,
        knee,
        [0.053 * unit * cloth, 0.054 * unit * cloth, 0.04 * unit],
        thigh,
    )
    wide = 0.026 if look.trouser <= 1 or bare else 0.031
    canvas.cylinder(
        knee,
        ankle,
        [0.039 * unit, 0.041 * unit, 0.032 * unit, wide * unit],
        shin,
    )
    toe = points[f'{side}_toe']
    heel = ankle - (toe - ankle) * 0.25
    heel[1] += 0.018 * scale
    canvas.cylinder(
        heel, toe, [0.03 * unit, 0.032 * unit, 0.024 * unit], look.shoes
    )


def _draw_head(canvas, points, frame, body, look, scale):
    center = points['head_center']
    radii = body.head_radii * scale
    up, forward = frame[:, 1], frame[:, 2]
    canvas.ellipsoid(center, radii, frame, _face_paint(look))
    for name in ('left_ear', 'right_ear'):
        canvas.ellipsoid(
            points[name], radii * (0.16, 0.26, 0.2), frame, look.skin * 0.9
        )
    canvas.ellipsoid(
        center + frame @ (radii * (0, -0.1, 0.98)),
        radii * (0.17, 0.24, 0.2),
        frame,
        look.skin * 1.02,
    )
    if look.hair_style == 'long':
        canvas.ellipsoid(
            center - forward * radii[2] * 0.45 - up * radii[1] * 0.45,
            radii * (1.08, 1.35, 0.62),
            frame,
            look.hair,
        )
    elif look.hair_style == 'bun':
        canvas.ellipsoid(
            center - forward * radii[2] * 0.9 + up * radii[1] * 0.55,
            radii * 0.42,
            frame,
            look.hair,
        )
    elif look.hair_style == 'cap':
        canvas.ellipsoid(
            center + forward * radii[2] * 1.0 + up * radii[1] * 0.42,
            radii * (0.75, 0.1, 0.5),
            frame,
            look.top_mark * 0.85,
        )
