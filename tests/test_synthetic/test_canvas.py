import numpy as np
import pytest

from mmpose_ext.synthetic.canvas import Canvas, noise_bank, noise_window

RED = np.array([0, 0, 200], np.float32)
BLUE = np.array([200, 0, 0], np.float32)
FACING = (0, 0, -1)  # light from the camera


def canvas(width=64, height=48, ambient=1.0, light=FACING):
    planes = np.zeros((3, height, width), np.float32)
    flat = np.ones((height, width), np.float32)
    return Canvas(planes, light, ambient, flat)


def test_ellipsoids():
    c = canvas()
    ball = c.start_layer()
    c.ellipsoid(np.array([30.0, 20, 0]), (10, 10, 10), np.eye(3), RED)
    area = (c.owner == ball).sum()
    assert area == pytest.approx(np.pi * 100, rel=0.03)
    assert c.depth[20, 30] == pytest.approx(-10)
    np.testing.assert_allclose(c.planes[:, 20, 30], RED)
    layer = c.start_layer()
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    c.ellipsoid(np.array([30.0, 20, 0]), (12, 4, 7), quarter, RED)
    rows, cols = np.nonzero(c.owner == layer)
    assert np.ptp(rows) + 1 == pytest.approx(24, abs=1)
    assert np.ptp(cols) + 1 == pytest.approx(8, abs=1)


def test_cylinder_has_its_length_width_and_caps():
    c = canvas()
    layer = c.start_layer()
    start, end = np.array([20.0, 10, 0]), np.array([20.0, 35, 0])
    c.cylinder(start, end, [5, 5], RED, caps=0.2)
    rows, _ = np.nonzero(c.owner == layer)
    assert (rows.min(), rows.max()) == (9, 36)
    layer = c.start_layer()
    c.cylinder(start, end, [5, 5], RED, caps=1.0)
    rows, cols = np.nonzero(c.owner == layer)
    assert (rows.min(), rows.max()) == (5, 40)
    assert (cols.min(), cols.max()) == (15, 25)
    # A profile is interpolated along the axis.
    layer = c.start_layer()
    start, end = np.array([10.0, 24, 0]), np.array([50.0, 24, 0])
    c.cylinder(start, end, [3, 9, 3], RED)
    widths = (c.owner == layer).sum(0)
    assert widths[10] == pytest.approx(7, abs=1)
    assert widths[30] == pytest.approx(18, abs=1)
    assert widths[20] == pytest.approx(12, abs=1.1)


@pytest.mark.parametrize('red_first', [True, False])
def test_nearer_shape_wins_in_any_order_of_a_layer(red_first):
    c = canvas()
    c.start_layer()
    shapes = [(0.0, BLUE), (-30.0, RED)]
    for z, colour in shapes[:: -1 if red_first else 1]:
        c.ellipsoid(np.array([30.0, 20, z]), (8, 8, 8), np.eye(3), colour)
    np.testing.assert_allclose(c.planes[:, 20, 30], RED)
    # A later layer covers an earlier one whatever its depth.
    layer = c.start_layer()
    c.ellipsoid(np.array([30.0, 20, 99]), (8, 8, 8), np.eye(3), BLUE)
    assert c.owner[20, 30] == layer
    np.testing.assert_allclose(c.planes[:, 20, 30], BLUE)


def test_light_brightens_its_side():
    c = canvas(ambient=0.3, light=(-1, 0, -0.5))
    c.start_layer()
    c.ellipsoid(np.array([30.0, 20, 0]), (10, 10, 10), np.eye(3), RED)
    c.cylinder(np.array([50.0, 10, 0]), np.array([50.0, 40, 0]), [6, 6], RED)
    for center, row in ((30, 20), (50, 25)):
        assert c.planes[2, row, center - 4] > c.planes[2, row, center + 4] + 30


def test_colour_function_gets_place_and_side():
    c = canvas()
    c.start_layer()

    def paint(place, side):
        return np.where(
            (place < 0.5) & (side > 0), RED[:, None, None], BLUE[:, None, None]
        )

    c.cylinder(np.array([10.0, 24, 0]), np.array([50.0, 24, 0]), [8, 8], paint)
    red = c.planes[2] > c.planes[0]
    assert red[28, 20] and not red[20, 20] and not red[28, 40]


def test_shapes_outside_are_ignored_and_at_the_border_cut():
    c = canvas()
    c.start_layer()
    c.ellipsoid(np.array([-50.0, 20, 0]), (8, 8, 8), np.eye(3), RED)
    c.cylinder(np.array([80.0, 0, 0]), np.array([90.0, 9, 0]), [2, 2], RED)
    assert not c.owner.any() and not c.planes.any()
    c.ellipsoid(np.array([0.0, 0, 0]), (8, 8, 8), np.eye(3), RED)
    assert c.owner[:6, :6].all() and not c.owner[12:, 12:].any()


def test_polygon_takes_colour_and_owner():
    c = canvas()
    layer = c.start_layer()
    corners = np.array([[10.0, 10], [30, 10], [30, 30], [10, 30]])
    c.polygon(corners, RED)
    assert (c.owner == layer).sum() == 21 * 21
    np.testing.assert_allclose(c.planes[:, 20, 20], RED)


def test_noise_windows():
    white, smooth = noise_bank()
    assert white.std() == pytest.approx(1, abs=0.01)
    assert smooth.std() == pytest.approx(1, abs=0.01)
    # Neighbours are alike in the smooth one only.
    assert abs(np.corrcoef(white[0, 1:], white[0, :-1])[0, 1]) < 0.15
    assert np.corrcoef(smooth[0, 1:], smooth[0, :-1])[0, 1] > 0.9
    rng = np.random.default_rng(0)
    assert noise_window(rng, 20, 3000, smooth=True).shape == (20, 3000)
