"""A small software renderer: shaded round shapes with depth and ownership.

Two primitives, a generalised cylinder and an ellipsoid, are evaluated per
pixel of their bounding box, which gives anti-aliased edges, true shading and
true mutual occlusion without supersampling.
"""

from functools import lru_cache
from math import hypot
from typing import Callable, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

# BGR of shape (3, ), or a function that returns planes of shape (3, h, w).
Colour = Union[np.ndarray, Callable[..., np.ndarray]]

# Room for the soft edge of a shape around its exact extent, px.
_MARGIN = 1.5


@lru_cache(maxsize=1)
def noise_bank() -> Tuple[np.ndarray, np.ndarray]:
    """White and smooth noise, (1024, 1024) each, unit variance, float32.

    Every picture cuts windows out of them: drawing fresh noise would take
    longer than drawing the persons.
    """
    rng = np.random.default_rng(20)
    white = rng.standard_normal((1024, 1024), dtype=np.float32)
    smooth = np.zeros_like(white)
    for size, weight in ((16, 1.0), (48, 0.8), (128, 0.6), (320, 0.4)):
        layer = rng.standard_normal((size, size), dtype=np.float32)
        smooth += weight * cv2.resize(
            layer, (1024, 1024), interpolation=cv2.INTER_CUBIC
        )
    return white, smooth / smooth.std()


def noise_window(
    rng: np.random.Generator, height: int, width: int, smooth: bool
) -> np.ndarray:
    """A random window of the noise bank of shape (height, width)."""
    bank = noise_bank()[int(smooth)]
    if height > bank.shape[0] or width > bank.shape[1]:
        bank = np.tile(bank, (height // 1024 + 1, width // 1024 + 1))
    y = rng.integers(bank.shape[0] - height + 1)
    x = rng.integers(bank.shape[1] - width + 1)
    return bank[y : y + height, x : x + width]


def _coverage(
    square: np.ndarray, radius: Union[float, np.ndarray]
) -> np.ndarray:
    """Coverage of pixels at the root of ``square`` radii, edges are soft."""
    return np.minimum(np.maximum((1 - np.sqrt(square)) * radius + 0.5, 0), 1)


class Canvas:
    """A picture with the depth and the owner of every pixel.

    Args:
        planes: The background of shape (3, H, W), BGR, float32, 0 to 255;
            is drawn into. Planes, because numpy is several times slower
            where the last axis has three elements.
        light: Direction towards the light in the camera frame (right, down,
            away).
        ambient: Brightness of what the light does not reach, 0 to 1.
        wrinkles: Factors near 1 of shape (H, W) for the shading, float32.

    Attributes:
        depth: (H, W) float32, of the layer being drawn; smaller is nearer.
        owner: (H, W) int16, the layer that each pixel shows, 0 where none.
    """

    def __init__(
        self,
        planes: np.ndarray,
        light: Sequence[float],
        ambient: float,
        wrinkles: np.ndarray,
    ) -> None:
        self.planes = planes
        self.light = np.asarray(light) / np.linalg.norm(light)
        self.ambient = ambient
        self.wrinkles = wrinkles
        self.height, self.width = planes.shape[1:]
        self.depth = np.full(planes.shape[1:], np.inf, dtype=np.float32)
        self.owner = np.zeros(planes.shape[1:], dtype=np.int16)
        self.layer = 0

    def start_layer(self) -> int:
        """Draw what follows over everything so far; return its number."""
        self.layer += 1
        self.depth.fill(np.inf)
        return self.layer

    def _window(
        self, x0: float, y0: float, x1: float, y1: float
    ) -> Optional[Tuple[slice, slice, np.ndarray, np.ndarray]]:
        left, top = max(int(x0), 0), max(int(y0), 0)
        right = min(int(x1) + 2, self.width)
        bottom = min(int(y1) + 2, self.height)
        if left >= right or top >= bottom:
            return None
        xs = np.arange(left, right, dtype=np.float32)
        ys = np.arange(top, bottom, dtype=np.float32)[:, None]
        return slice(top, bottom), slice(left, right), xs, ys

    def _blend(
        self,
        rows: slice,
        cols: slice,
        alpha: np.ndarray,
        depth: np.ndarray,
        shade: np.ndarray,
        colour: np.ndarray,
    ) -> None:
        """Lay a shaded shape over a window, where nothing nearer is."""
        near = self.depth[rows, cols]
        alpha = alpha * (depth < near)
        shade = self.ambient + (1 - self.ambient) * np.maximum(shade, 0)
        shade *= self.wrinkles[rows, cols]
        if colour.ndim == 1:
            colour = colour.astype(np.float32)[:, None, None]
        planes = self.planes[:, rows, cols]
        planes += alpha * (colour * shade - planes)
        self.owner[rows, cols][alpha >= 0.5] = self.layer
        # A soft edge hides nothing: what is drawn behind it later replaces
        # the background that shines through.
        solid = alpha > 0.95
        near[solid] = depth[solid]

    def cylinder(
        self,
        start: np.ndarray,
        end: np.ndarray,
        radii: Sequence[float],
        colour: Colour,
        depth_radius: Optional[float] = None,
        caps: float = 1.0,
        bias: float = 0.0,
    ) -> None:
        """Draw a generalised cylinder with elliptical ends.

        Args:
            start: Point in the camera frame, (x, y, z) in px.
            end: The other end of the axis.
            radii: Radii in px at evenly spaced places along the axis.
            colour: BGR, or a function of the place along the axis (0 to 1
                between the ends) and the place across it (-1 to 1), both
                (h, w), that returns planes of shape (3, h, w).
            depth_radius: Half of the extent towards the camera in px; the
                local radius if not given.
            caps: Length of the end caps as a multiple of the radius there.
            bias: Added to the depth.
        """
        radii = [float(r) for r in radii]
        (x0, y0, z0), (x1, y1, z1) = start.tolist(), end.tolist()
        reach = max(radii) * max(caps, 1.0) + _MARGIN
        window = self._window(
            min(x0, x1) - reach,
            min(y0, y1) - reach,
            max(x0, x1) + reach,
            max(y0, y1) + reach,
        )
        if window is None:
            return
        rows, cols, xs, ys = window
        length = max(hypot(x1 - x0, y1 - y0), 1e-3)
        ux, uy = (x1 - x0) / length, (y1 - y0) / length
        dx, dy = xs - x0, ys - y0
        along = dx * ux + dy * uy
        across = dy * ux - dx * uy
        place = along * (1 / length)
        inside = np.minimum(np.maximum(place, 0), 1)
        if len(radii) == 2:
            radius = radii[0] + (radii[1] - radii[0]) * inside
        else:
            steps = len(radii) - 1
            radius = np.interp(inside * steps, range(steps + 1), radii)
            radius = radius.astype(np.float32)
        side = across / radius
        tip = (along - inside * length) / (radius * caps)
        square = side * side + tip * tip
        alpha = _coverage(square, radius)
        bulge = np.sqrt(np.maximum(1 - square, 0))
        depth = (z1 - z0) * inside + (z0 + bias)
        depth -= bulge * (depth_radius or radius)
        lx, ly, lz = self.light.tolist()
        shade = (
            side * (ly * ux - lx * uy) + tip * (lx * ux + ly * uy) - bulge * lz
        )
        if callable(colour):
            colour = colour(place, side)
        self._blend(rows, cols, alpha, depth, shade, colour)

    def ellipsoid(
        self,
        center: np.ndarray,
        radii: Sequence[float],
        frame: np.ndarray,
        colour: Colour,
        bias: float = 0.0,
    ) -> None:
        """Draw an ellipsoid.

        Args:
            center: (x, y, z) in px, in the camera frame.
            radii: Half axes in px.
            frame: (3, 3); its columns are the axes in the camera frame.
            colour: BGR, or a function of the three coordinates on the unit
                sphere, (h, w) each, along the axes, that returns (3, h, w).
            bias: Added to the depth.
        """
        axes = frame * np.asarray(radii)
        inverse = frame.T / np.asarray(radii)[:, None]
        metric = inverse.T @ inverse
        exact = np.sqrt((axes * axes).sum(1))
        extent = exact + _MARGIN
        window = self._window(
            center[0] - extent[0],
            center[1] - extent[1],
            center[0] + extent[0],
            center[1] + extent[1],
        )
        if window is None:
            return
        rows, cols, xs, ys = window
        dx, dy = np.broadcast_arrays(
            xs - float(center[0]), ys - float(center[1])
        )
        # d' M d = 1 is solved for the depth: a z^2 + 2 b z + c = 0.
        (m00, m01, m02), (_, m11, m12), (_, _, a) = metric.tolist()
        b = m02 * dx + m12 * dy
        c = m00 * dx * dx + 2 * m01 * dx * dy + m11 * dy * dy - 1
        root = b * b - a * c
        square = np.maximum(1 - root / a, 0)
        mean_radius = float(np.sqrt(exact[0] * exact[1]))
        alpha = _coverage(square, mean_radius)
        dz = -(b + np.sqrt(np.maximum(root, 0))) / a
        # M d is normal to the surface.
        nx = m00 * dx + m01 * dy + m02 * dz
        ny = m01 * dx + m11 * dy + m12 * dz
        nz = m02 * dx + m12 * dy + a * dz
        lx, ly, lz = self.light.tolist()
        shade = (lx * nx + ly * ny + lz * nz) / np.sqrt(
            nx * nx + ny * ny + nz * nz
        )
        if callable(colour):
            colour = colour(
                *(p * dx + q * dy + r * dz for p, q, r in inverse.tolist())
            )
        depth = dz + (float(center[2]) + bias)
        self._blend(rows, cols, alpha, depth, shade, colour)

    def polygon(self, points: np.ndarray, colour: Sequence[float]) -> None:
        """Fill a convex polygon, points of shape (N, 2) in px, flat."""
        fixed = np.round(points * 16).astype(np.int32)
        for plane, value in zip(self.planes, colour):
            cv2.fillConvexPoly(plane, fixed, float(value), cv2.LINE_8, 4)
        cv2.fillConvexPoly(self.owner, fixed, self.layer, cv2.LINE_8, 4)
