"""One toy picture: who stands where, and what stands before them."""

from dataclasses import dataclass
from typing import List, Tuple

import cv2
import numpy as np

from ..datasets.lip_dataset import LIP_KEYPOINTS
from .backdrop import draw_backdrop
from .canvas import Canvas, noise_window
from .chance import pick
from .look import SKIN, sample_look
from .person import JOINT_DEPTH, draw_person
from .skeleton import (
    COCO_KEYPOINTS,
    forward_kinematics,
    sample_angles,
    sample_body,
    view_matrix,
)

KEYPOINTS = (*COCO_KEYPOINTS, *LIP_KEYPOINTS[6:10])
_JOINT_DEPTH = np.array(
    [JOINT_DEPTH.get(name.split('_')[-1], 0.0) for name in KEYPOINTS]
)
# Own surface this much nearer than a joint hides it, in standing heights.
_HIDDEN = 0.05


@dataclass
class Figure:
    """One person of a picture.

    Attributes:
        layer: Its value in the owner map.
        keypoints: (21, 2), px; the COCO keypoints, then pelvis, thorax,
            upper neck and head top.
        visible: (21, ), 0 outside of the image, 1 occluded, 2 visible.
        crowd: Whether it is one of a crowd that is annotated as a whole.
    """

    layer: int
    keypoints: np.ndarray
    visible: np.ndarray
    crowd: bool = False


@dataclass
class Scene:
    """A picture, (H, W, 3) uint8 BGR, its owner map (H, W), its persons."""

    image: np.ndarray
    owner: np.ndarray
    figures: List[Figure]


def _place(
    rng: np.random.Generator, count: int, width: int, height: int
) -> List[Tuple[float, float, float]]:
    """Standing heights, ground points x and y of the persons, far ones first.

    A person's place is drawn again while it is too close to another's.
    """
    places = []
    for _ in range(count):
        for _ in range(12):
            draw = rng.random()
            if draw < 0.07:
                size = rng.uniform(0.26, 0.40)
            elif draw < 0.90:
                size = rng.uniform(0.42, 0.95)
            else:
                size = rng.uniform(1.0, 1.5)
            if count > 2:
                size = min(size, rng.uniform(0.6, 0.95))
            x = rng.uniform(0.08, 0.92)
            ground = 0.55 + 0.42 * size + rng.uniform(-0.05, 0.04)
            if size > 1:  # close-up, cut below
                ground = size + rng.uniform(0.02, 0.12)
            elif rng.random() < 0.10:
                ground += rng.uniform(0.05, 0.3) * size
            if rng.random() < 0.10:
                x = abs(rng.integers(2) - rng.uniform(-0.01, 0.06))
            near = [
                abs(x - p[1]) * width / height
                < rng.uniform(0.16, 0.42) * (size + p[0]) / 2
                for p in places
            ]
            if not any(near):
                break
        places.append((size, x, ground))
    places.sort(key=lambda p: p[2])
    return [(s * height, x * width, y * height) for s, x, y in places]


def _add_person(
    rng: np.random.Generator,
    canvas: Canvas,
    scale: float,
    x: float,
    ground: float,
    pitch: float,
    roll: float,
) -> Figure:
    """Draw one person standing at a ground point."""
    body = sample_body(rng)
    angles, activity = sample_angles(rng)
    look = sample_look(rng)
    mean, spread = ((0, 28), (180, 28), (90, 25), (-90, 25))[
        pick(rng, (0.48, 0.26, 0.13, 0.13))
    ]
    view = view_matrix(rng.normal(mean, spread), pitch, roll)
    points, frames = forward_kinematics(body, angles)
    names = list(points)
    joints = np.stack([points[name] for name in names]) @ view.T * scale
    lowest = max(
        joints[names.index(f'{side}_{part}')][1]
        for side in ('left', 'right')
        for part in ('ankle', 'toe')
    )
    joints += (x, ground - lowest - 0.03 * scale, 0)
    points = dict(zip(names, joints))
    frames = {name: view @ frame for name, frame in frames.items()}

    if activity == 'sit':
        _draw_seat(rng, canvas, points, scale, ground)
    layer = canvas.start_layer()
    draw_person(canvas, points, frames, body, look, scale)

    keypoints = np.stack([points[name] for name in KEYPOINTS])
    visible = _visibility(canvas, keypoints, scale)
    return Figure(layer, keypoints[:, :2], visible)


def _visibility(
    canvas: Canvas, keypoints: np.ndarray, scale: float
) -> np.ndarray:
    """Flags of the person in the current layer, before others cover it."""
    column, row = np.round(keypoints[:, :2]).astype(int).T
    inside = (
        (keypoints[:, :2] >= 0)
        & (keypoints[:, :2] <= (canvas.width - 1, canvas.height - 1))
    ).all(1)
    row, column = np.where(inside, row, 0), np.where(inside, column, 0)
    surface = canvas.depth[row, column]
    hidden = surface < keypoints[:, 2] - (_JOINT_DEPTH + _HIDDEN) * scale
    return np.where(inside, np.where(hidden, 1, 2), 0)


def _draw_seat(rng, canvas, points, scale, ground):
    """A box or a stool under a sitting person."""
    colour = rng.uniform(40, 190) + rng.uniform(-30, 30, 3)
    pelvis = points['pelvis']
    top = pelvis[1] + 0.075 * scale
    half = rng.uniform(0.11, 0.2) * scale
    left, right = pelvis[0] - half, pelvis[0] + half
    canvas.start_layer()
    if rng.random() < 0.5:
        corners = [(left, top), (right, top), (right, ground), (left, ground)]
        canvas.polygon(np.array(corners), colour * 0.7)
    else:
        for x in (left + 1, right - 1):
            canvas.cylinder(
                np.array([x, top, 0]),
                np.array([x, ground, 0]),
                [0.014 * scale] * 2,
                colour * 0.6,
                caps=0.1,
            )
    canvas.cylinder(
        np.array([left, top, 0]),
        np.array([right, top, 0]),
        [0.03 * scale] * 2,
        colour,
        caps=0.4,
    )


def _draw_thing(
    rng: np.random.Generator,
    canvas: Canvas,
    size: float,
    x: float,
    ground: float,
) -> None:
    """Draw a distractor: a bar, a ball, a box or a post."""
    canvas.start_layer()
    kind = rng.integers(5)
    colour = rng.uniform(30, 210) + rng.uniform(-60, 60, 3)
    colour = np.clip(colour, 15, 235).astype(np.float32)
    if kind == 0:  # a bar that could be a limb
        if rng.random() < 0.6:
            colour = SKIN[rng.integers(len(SKIN))]
        start = np.array([x, ground - rng.uniform(0, 0.7) * size, 0])
        turn = rng.uniform(0, 2 * np.pi)
        reach = rng.uniform(0.25, 0.8) * size
        end = start + reach * np.array([np.cos(turn), np.sin(turn), 0])
        thick = rng.uniform(0.025, 0.06) * size
        canvas.cylinder(start, end, [thick, thick * 0.7], colour)
    elif kind == 1:
        _draw_ball(rng, canvas, size, x, ground, colour)
    elif kind == 2:
        _draw_box(rng, canvas, size, x, ground, colour)
    elif kind == 3:  # a post or a trunk
        thick = rng.uniform(0.02, 0.055) * size
        canvas.cylinder(
            np.array([x, ground - rng.uniform(0.5, 1.2) * size, 0]),
            np.array([x + rng.uniform(-6, 6), ground, 0]),
            [thick, thick * rng.uniform(1, 1.3)],
            colour * 0.8,
            caps=0.3,
        )
    else:  # a plant
        for _ in range(7):
            leaf = rng.normal(0, 1, 2) * (0.08, 0.07) * size
            canvas.ellipsoid(
                np.array(
                    [x + leaf[0], ground - 0.04 * size - abs(leaf[1]), 0]
                ),
                rng.uniform(0.05, 0.09, 3) * size,
                np.eye(3),
                np.array([50, 110, 70]) * rng.uniform(0.6, 1.4),
            )


def _draw_ball(rng, canvas, size, x, ground, colour):
    """A ball with a stripe."""
    radius = rng.uniform(0.05, 0.13) * size
    mark = rng.uniform(20, 230, 3)
    stripes = rng.uniform(0, 0.6)
    frame = view_matrix(*rng.uniform(0, 180, 3))

    def paint(left, up, forward):
        return np.where(
            np.abs(up) < stripes,
            mark[:, None, None],
            colour[:, None, None],
        )

    lift = 0 if rng.random() < 0.7 else rng.uniform(0, 0.9) * size
    center = np.array([x, ground - radius - lift, 0])
    canvas.ellipsoid(center, (radius,) * 3, frame, paint)


def _draw_box(rng, canvas, size, x, ground, colour):
    """A box with a side and a lid."""
    w, h = rng.uniform(0.12, 0.45, 2) * size
    d = rng.uniform(0.2, 0.5) * w * (2 * rng.integers(2) - 1)
    front = np.array([[0, 0], [w, 0], [w, -h], [0, -h]])
    front += np.array([x, ground])
    edge = 1 if d > 0 else 0
    back = np.array([d, -abs(d) * 0.6])
    side = front[[edge, 3 - edge]]
    canvas.polygon(np.concatenate([side, side[::-1] + back]), colour * 0.6)
    lid = front[[3, 2]]
    canvas.polygon(np.concatenate([lid, lid[::-1] + back]), colour * 1.1)
    canvas.polygon(front, colour * 0.85)


def _shadows(
    planes: np.ndarray, spots: List[Tuple[float, float, float]], light: float
) -> None:
    """Darken the ground below the persons."""
    height, width = planes.shape[1:]
    # A quarter of the size is enough for something this soft.
    mask = np.zeros((height // 4, width // 4), np.float32)
    for scale, x, y in spots:
        center = (x - light * 0.12 * scale, y)
        axes = (0.24 * scale, 0.05 * scale)
        cv2.ellipse(
            mask,
            tuple(round(v * 4) for v in center),
            tuple(round(v * 4) for v in axes),
            0,
            0,
            360,
            0.55,
            cv2.FILLED,
            cv2.LINE_8,
            4,
        )
    mask = cv2.GaussianBlur(mask, (0, 0), 0.9)
    planes *= 1 - cv2.resize(mask, (width, height))


def _add_crowd(rng, canvas, horizon, width, height):
    """A group of small distant persons."""
    figures = []
    count = int(rng.integers(5, 9))
    center = rng.uniform(0.15, 0.85) * width
    size = rng.uniform(0.15, 0.22) * height
    for i in range(count):
        x = center + (i - count / 2) * size * 0.3 + rng.normal(0, 1)
        figure = _add_person(
            rng,
            canvas,
            size * rng.uniform(0.85, 1.1),
            x,
            horizon + size * rng.uniform(0.55, 0.75),
            0,
            0,
        )
        figure.crowd = True
        figures.append(figure)
    return figures


def _camera(rng: np.random.Generator, planes: np.ndarray) -> np.ndarray:
    """What a camera does: white balance, exposure, vignette, blur, noise."""
    h, w = planes.shape[1:]
    gain = rng.uniform(0.9, 1.22) * rng.uniform(0.95, 1.05, (3, 1, 1))
    planes *= gain.astype(np.float32)
    if rng.random() < 0.5:
        y = np.linspace(-1, 1, h, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, w, dtype=np.float32)
        planes *= 1 - rng.uniform(0.03, 0.14) * (x * x + y * y)
    image = cv2.merge(list(planes))
    cv2.GaussianBlur(image, (3, 3), rng.uniform(0.35, 0.75), dst=image)
    noise = noise_window(rng, h, 3 * w, smooth=False).reshape(h, w, 3)
    image += rng.uniform(0.5, 4.5) * noise
    return np.clip(image, 0, 255).astype(np.uint8)


def compose(rng: np.random.Generator, width: int, height: int) -> Scene:
    """Draw one picture.

    Args:
        rng: The only source of chance.
        width: px.
        height: px.

    Returns:
        Scene: The picture with 1 to 4 persons and perhaps a crowd.
    """
    planes, horizon = draw_backdrop(rng, width, height)
    count = 1 + pick(rng, (0.36, 0.34, 0.20, 0.10))
    places = _place(rng, count, width, height)
    # Things behind all persons, as (size, x, ground) like them.
    things = [
        (size, rng.uniform(0, width), 0.55 * height + 0.3 * size)
        for size in rng.uniform(0.4, 0.9, rng.integers(0, 4)) * height
    ]
    light = (rng.uniform(-1, 1), rng.uniform(-1.2, -0.2), -1.0)
    _shadows(planes, places, light[0])
    _shadows(planes, [(0.5 * size, *at) for size, *at in things], light[0])
    wrinkles = 1 + 0.06 * noise_window(rng, height, width, smooth=True)
    canvas = Canvas(planes, light, rng.uniform(0.4, 0.65), wrinkles)
    pitch, roll = rng.uniform(0, 12), rng.normal(0, 3)

    figures: List[Figure] = []
    if rng.random() < 0.06:
        figures += _add_crowd(rng, canvas, horizon, width, height)
    for thing in things:
        _draw_thing(rng, canvas, *thing)
    for place in places:
        figures.append(_add_person(rng, canvas, *place, pitch, roll))
        if rng.random() < 0.16:  # right before this person
            size, x, ground = place
            x += rng.uniform(-0.3, 0.3) * size
            ground += rng.uniform(0.0, 0.08) * size
            _draw_thing(rng, canvas, size * 0.9, x, ground)

    for figure in figures:
        _cover(figure, canvas.owner)
    return Scene(_camera(rng, planes), canvas.owner, figures)


def _cover(figure: Figure, owner: np.ndarray) -> None:
    """Mark the keypoints that something drawn later covers as occluded."""
    inside = figure.visible > 0
    column, row = np.round(figure.keypoints[inside]).astype(int).T
    covered = owner[row, column] > figure.layer
    figure.visible[inside] = np.where(covered, 1, figure.visible[inside])
