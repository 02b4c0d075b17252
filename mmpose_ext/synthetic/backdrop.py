"""Backgrounds of the toy pictures: rooms, streets, fields and studios."""

from typing import Tuple

import cv2
import numpy as np

from .canvas import noise_window
from .chance import pick


def _vertical(top: np.ndarray, bottom: np.ndarray, rows: int) -> np.ndarray:
    """A gradient of shape (rows, 1, 3)."""
    t = np.linspace(0, 1, max(rows, 1), dtype=np.float32)[:, None, None]
    return top + (bottom - top) * t


def _rect(image, x0, y0, x1, y1, colour):
    corners = (round(x0), round(y0)), (round(x1), round(y1))
    colour = tuple(float(c) for c in colour)
    cv2.rectangle(image, *corners, colour, cv2.FILLED)


def _disc(image, x, y, radius, colour):
    center = (round(x), round(y))
    args = (round(radius), colour, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(image, center, *args)


def _muted(rng, low, high, spread=18):
    colour = rng.uniform(low, high) + rng.uniform(-spread, spread, 3)
    return np.clip(colour, 5, 250).astype(np.float32)


def _floor(rng, image, horizon, colour):
    """Ground with perspective lines."""
    h, w = image.shape[:2]
    image[horizon:] = _vertical(colour * 0.82, colour * 1.08, h - horizon)
    kind = rng.integers(3)
    if kind == 0:
        return
    vanish = rng.uniform(0.2, 0.8) * w
    for x in np.linspace(-w, 2 * w, int(rng.integers(8, 18))):
        far, near = (
            (round(vanish + (x - vanish) * 0.2), horizon),
            (round(x), h),
        )
        dark = (colour * 0.78).tolist()
        cv2.line(image, far, near, dark, 1, cv2.LINE_AA)
    if kind == 2:
        y = 4.0
        while horizon + y < h:
            _rect(image, 0, horizon + y, w, horizon + y, colour * 0.8)
            y *= 1.5


def _room(rng, image, horizon):
    w = image.shape[1]
    wall = _muted(rng, 110, 225)
    image[:horizon] = _vertical(wall * 1.04, wall * 0.9, horizon)
    if rng.random() < 0.3:
        step = int(rng.integers(8, 24))
        image[:horizon, ::step] = wall * 0.85
    _floor(rng, image, horizon, _muted(rng, 60, 170))
    _rect(image, 0, horizon - 3, w, horizon, wall * 0.7)
    for _ in range(rng.integers(1, 5)):  # windows, pictures, doors
        x, y = rng.uniform(0, w), rng.uniform(0, horizon * 0.5)
        bw, bh = rng.uniform(18, 60), rng.uniform(18, 70)
        frame = _muted(rng, 40, 220)
        _rect(image, x, y, x + bw, y + bh, frame)
        _rect(
            image, x + 2, y + 2, x + bw - 2, y + bh - 2, _muted(rng, 60, 250)
        )
        if rng.random() < 0.5:
            _rect(image, x + bw / 2, y, x + bw / 2 + 1, y + bh, frame)
    for _ in range(rng.integers(0, 4)):  # cupboards, tables
        x, bw = rng.uniform(-20, w), rng.uniform(20, 80)
        top = horizon - rng.uniform(10, 70)
        base = horizon + rng.uniform(2, 16)
        colour = _muted(rng, 40, 190)
        _rect(image, x, top, x + bw, base, colour)
        _rect(image, x, top, x + bw, top + 3, colour * 1.25)
        for y in np.arange(top + 8, base - 4, 14):
            _rect(image, x + 3, y, x + bw - 3, y, colour * 0.7)


def _street(rng, image, horizon):
    w = image.shape[1]
    sky = np.array([235, 205, 170], np.float32) * rng.uniform(0.55, 1.05)
    image[:horizon] = _vertical(sky, np.minimum(sky * 1.2, 250), horizon)
    x = -rng.uniform(0, 30)
    while x < w:
        bw = rng.uniform(28, 80)
        top = rng.uniform(-30, horizon * 0.6)
        colour = _muted(rng, 60, 190)
        _rect(image, x, top, x + bw, horizon, colour)
        glass = _muted(rng, 40, 220)
        size, gap = rng.uniform(4, 9), rng.uniform(4, 9)
        for wy in np.arange(top + gap, horizon - size - 8, size + gap):
            for wx in np.arange(x + gap, x + bw - size, size + gap):
                _rect(image, wx, wy, wx + size - 1, wy + size, glass)
        x += bw + (rng.uniform(0, 18) if rng.random() < 0.3 else 0)
    _floor(rng, image, horizon, _muted(rng, 80, 150))
    curb = horizon + rng.uniform(8, 25)
    _rect(image, 0, curb, w, curb + 2, _muted(rng, 140, 200))
    for _ in range(rng.integers(0, 3)):  # cars
        x, bw = rng.uniform(-20, w - 10), rng.uniform(36, 70)
        y, colour = horizon + rng.uniform(4, 12), rng.uniform(20, 230, 3)
        _rect(image, x, y - bw * 0.24, x + bw, y, colour)
        top, base = y - bw * 0.42, y - bw * 0.24
        _rect(image, x + bw * 0.2, top, x + bw * 0.75, base, colour * 0.6)
        for part in (0.2, 0.78):
            _disc(image, x + bw * part, y, bw * 0.09, (25, 25, 25))


def _field(rng, image, horizon):
    h, w = image.shape[:2]
    sky = np.array([240, 195, 150], np.float32) * rng.uniform(0.6, 1.05)
    image[:horizon] = _vertical(sky, np.minimum(sky * 1.25, 252), horizon)
    grass = np.array([60, 130, 105], np.float32) * rng.uniform(0.6, 1.35)
    grass = grass * rng.uniform(0.8, 1.2, 3).astype(np.float32)
    for _ in range(rng.integers(1, 4)):  # hills
        center = (round(rng.uniform(0, w)), horizon)
        axes = (round(rng.uniform(40, 160)), round(rng.uniform(6, 45)))
        green = (grass * rng.uniform(0.6, 1.1)).tolist()
        cv2.ellipse(image, center, axes, 0, 180, 360, green, cv2.FILLED)
    image[horizon:] = _vertical(grass * 0.8, grass * 1.1, h - horizon)
    for _ in range(rng.integers(0, 6)):  # trees
        x, size = rng.uniform(0, w), rng.uniform(14, 45)
        base = horizon + rng.uniform(-2, 10)
        half, brown = size * 0.07, (35, 55, 80)
        _rect(image, x - half, base - size, x + half, base, brown)
        for _ in range(5):
            cx = x + rng.normal(0, size * 0.25)
            cy = base - size * 1.1 + rng.normal(0, size * 0.2)
            radius = size * rng.uniform(0.2, 0.4)
            colour = (grass * rng.uniform(0.45, 0.9)).tolist()
            _disc(image, cx, cy, radius, colour)
    if rng.random() < 0.3:  # fence
        y = horizon + rng.uniform(2, 12)
        for x in np.arange(0, w, rng.uniform(10, 30)):
            _rect(image, x, y - 14, x + 1, y, (120, 140, 150))
        _rect(image, 0, y - 10, w, y - 9, (120, 140, 150))


def _studio(rng, image, horizon):
    h = image.shape[0]
    colour = _muted(rng, 50, 220)
    image[:] = _vertical(colour * 1.1, colour * 0.75, h)
    for _ in range(rng.integers(2, 9)):  # out of focus lights and patches
        center = (int(rng.integers(image.shape[1])), int(rng.integers(h)))
        radius = int(rng.integers(5, 45))
        light = _muted(rng, 40, 230).tolist()
        cv2.circle(image, center, radius, light, cv2.FILLED)
    cv2.GaussianBlur(image, (0, 0), rng.uniform(3, 7), dst=image)
    image[horizon:] *= rng.uniform(0.75, 0.95)


def draw_backdrop(
    rng: np.random.Generator, width: int, height: int
) -> Tuple[np.ndarray, int]:
    """Draw a background.

    Returns:
        tuple: (3, H, W) float32 BGR, 0 to 255, and the row of the horizon.
    """
    image = np.empty((height, width, 3), np.float32)
    horizon = round(height * rng.uniform(0.42, 0.58))
    kinds = (_room, _street, _field, _studio)
    draw = kinds[pick(rng, (0.36, 0.26, 0.24, 0.14))]
    draw(rng, image, horizon)
    if rng.random() < 0.6:
        cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.6), dst=image)
    texture = noise_window(rng, height, width, smooth=True)
    grain = noise_window(rng, height, width, smooth=False)
    strength = rng.uniform(0.005, 0.045), rng.uniform(0.0, 0.03)
    planes = np.stack(cv2.split(image))
    planes *= 1 + strength[0] * texture + strength[1] * grain
    return planes, horizon
