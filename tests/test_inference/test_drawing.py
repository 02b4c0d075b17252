"""Pictures of poses."""

import numpy as np
import pytest
from mmengine.structures import InstanceData
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from mmpose_ext.errors import InputError
from mmpose_ext.inference.drawing import PoseDrawer, draw_label, enlarge

COCO = parse_pose_metainfo(dict(from_file='configs/_base_/datasets/coco.py'))


def person(nose, score, box=(0, 0, 1, 1)) -> InstanceData:
    keypoints = np.full((1, 17, 2), -100.0)
    scores = np.zeros((1, 17))
    keypoints[0, 0], scores[0, 0] = nose, score
    return InstanceData(
        keypoints=keypoints,
        keypoint_scores=scores,
        bboxes=np.array([box], dtype=float),
        bbox_scores=[1.0],
    )


@pytest.mark.parametrize(
    ('size', 'factor'), [((40, 100), 4), ((192, 256), 3), ((700, 900), 1)]
)
def test_a_keypoint_is_drawn_at_its_pixel(size, factor):
    image = np.zeros((*size, 3), dtype=np.uint8)
    drawn = PoseDrawer(COCO)(image, person((30, 20), 0.9))
    assert drawn.shape == (size[0] * factor, size[1] * factor, 3)
    drawn[: factor * 10, : factor * 10] = 0  # the box
    y, x = np.nonzero(drawn.max(axis=2) > 64)
    # The centre of a pixel of the enlarged picture, in those of the image.
    centre = (np.array([x.mean(), y.mean()]) - (factor - 1) / 2) / factor
    assert np.abs(centre - (30, 20)).max() < 0.5
    radius = np.sqrt(len(x) / np.pi)
    assert 2 <= radius <= 7


def test_the_box_is_drawn_around_its_pixels():
    image = np.zeros((600, 800, 3), dtype=np.uint8)
    drawn = PoseDrawer(COCO)(image, person((0, 0), 0, (50, 70, 150, 270)))
    y, x = np.nonzero(drawn.max(axis=2) > 64)
    assert np.abs([x.min() - 50, y.min() - 70]).max() <= 2
    assert np.abs([x.max() - 150, y.max() - 270]).max() <= 2
    assert drawn[100:240, 80:120].max() == 0


def test_colours_are_those_of_the_keypoints():
    """MMPose's colours are RGB, the picture is BGR."""
    image = np.zeros((600, 800, 3), dtype=np.uint8)
    drawn = PoseDrawer(COCO)(image, person((30, 20), 0.9))
    colour = COCO['keypoint_colors'][0][::-1]
    np.testing.assert_allclose(drawn[20, 30], 0.8 * colour, atol=20)


def test_nobody_and_weak_keypoints_leave_the_image():
    image = np.full((600, 800, 3), 99, dtype=np.uint8)
    nobody = person((0, 0), 0)[:0]
    np.testing.assert_array_equal(PoseDrawer(COCO)(image, nobody), image)
    drawn = PoseDrawer(COCO, kpt_thr=0.5)(image, person((90, 90), 0.4))
    np.testing.assert_array_equal(drawn[50:], image[50:])


@pytest.mark.parametrize('size', [(256, 384), (1080, 1920), (120, 80)])
@pytest.mark.parametrize('grey', [0, 128, 255])
def test_a_label_is_legible_in_its_corner(size, grey):
    image = np.full((*size, 3), grey, dtype=np.uint8)
    drawn = draw_label(image, '12.3 FPS')
    assert (image == grey).all()
    assert drawn.shape == image.shape
    # White letters, and black around them, on any ground.
    assert (drawn == 255).all(axis=2).sum() > 20
    assert (drawn == 0).all(axis=2).sum() > 20
    y, x = np.nonzero((drawn != image).any(axis=2))
    capital = min(max(size[0] / 24, 12), size[1] / 5)
    assert y.max() < 2.2 * capital
    assert x.max() < min(9 * capital, size[1] - 1)
    assert min(y.min(), x.min()) > 0


@pytest.mark.parametrize(
    ('size', 'height'), [((96, 500), 12), ((720, 9999), 30)]
)
def test_letters_are_as_high_as_documented(size, height):
    drawn = draw_label(np.zeros((*size, 3), dtype=np.uint8), '12.3 FPS')
    rows = np.nonzero((drawn > 127).all(axis=2))[0]
    assert abs(np.ptp(rows) + 1 - height) <= 0.25 * height


def test_a_threshold_that_is_not_finite():
    with pytest.raises(ValueError, match=r'^kpt_thr must .*nan$'):
        PoseDrawer(COCO, float('nan'))


def test_pictures_that_are_too_large():
    image = np.zeros((2, 65501, 3), dtype=np.uint8)
    assert enlarge(image[:, :65500])[1] == 1
    with pytest.raises(InputError, match=r'65501 x 2 px .* most 65500 px'):
        enlarge(image)
    with pytest.raises(InputError, match=r'2 x 65501 px'):
        enlarge(image.transpose(1, 0, 2))
