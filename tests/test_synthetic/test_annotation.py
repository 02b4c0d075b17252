import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xtcocotools import mask as coco_mask

from mmpose_ext.synthetic.annotation import (
    annotate,
    clean_mask,
    lip_row,
    mask_to_polygons,
    mask_to_rle,
)
from mmpose_ext.synthetic.scene import KEYPOINTS, Figure, Scene, compose


def rasterise(segmentation, shape):
    rles = coco_mask.frPyObjects(segmentation, *shape)
    if isinstance(segmentation, list):
        rles = coco_mask.merge(rles)
    return coco_mask.decode(rles).astype(bool)


@given(st.integers(0, 10000))
@settings(max_examples=40, deadline=None)
def test_polygons_give_back_the_mask(seed):
    rng = np.random.default_rng(seed)
    coarse = rng.random((6, 8)) < 0.6
    mask = np.repeat(np.repeat(coarse, 3, 0), 4, 1)
    mask &= rng.random(mask.shape) < 0.97  # small holes
    mask = clean_mask(mask)
    polygons = mask_to_polygons(mask)
    if not mask.any():
        assert polygons == []
        return
    assert all(len(p) >= 8 and len(p) % 2 == 0 for p in polygons)
    np.testing.assert_array_equal(rasterise(polygons, mask.shape), mask)


def test_hole_stays_a_hole_in_one_polygon():
    mask = np.zeros((20, 30), bool)
    mask[3:17, 5:25] = True
    mask[8:12, 10:14] = False
    mask[6:9, 18:20] = False
    polygons = mask_to_polygons(mask)
    assert len(polygons) == 1
    np.testing.assert_array_equal(rasterise(polygons, mask.shape), mask)


def test_rle_gives_back_the_mask():
    rng = np.random.default_rng(0)
    for shape, share in (((7, 5), 0.5), ((4, 3), 1), ((4, 3), 0)):
        mask = rng.random(shape) < share
        rle = mask_to_rle(mask)
        assert sum(rle['counts']) == mask.size
        np.testing.assert_array_equal(rasterise(rle, mask.shape), mask)


def test_clean_mask_drops_specks():
    mask = np.zeros((20, 20), bool)
    mask[2:10, 2:10] = True
    mask[15, 15] = True
    cleaned = clean_mask(mask)
    assert cleaned.sum() == 64 and not cleaned[15, 15]
    assert not clean_mask(np.zeros((5, 5), bool)).any()


@pytest.mark.parametrize('index', range(4))
def test_annotations_match_the_picture(index):
    scene = compose(np.random.default_rng([0, 0, index]), 256, 192)
    found = annotate(scene, 7)
    assert [a['id'] for a in found] == [112 + i for i in range(len(found))]
    persons = [f for f in scene.figures if not f.crowd]
    persons = [f for f in persons if clean_mask(scene.owner == f.layer).any()]
    assert [a['iscrowd'] for a in found[: len(persons)]] == [0] * len(persons)
    for annotation, figure in zip(found, persons):
        mask = clean_mask(scene.owner == figure.layer)
        again = rasterise(annotation['segmentation'], mask.shape)
        np.testing.assert_array_equal(again, mask)
        assert annotation['area'] == mask.sum()
        rows, cols = np.nonzero(mask)
        extent = (np.ptp(cols) + 1, np.ptp(rows) + 1)
        assert annotation['bbox'] == [cols.min(), rows.min(), *extent]
        points = np.array(annotation['keypoints']).reshape(17, 3)
        np.testing.assert_array_equal(points[:, 2], figure.visible[:17])
        there = points[:, 2] > 0
        assert annotation['num_keypoints'] == there.sum()
        assert not points[~there].any()
        expected = figure.keypoints[:17][there]
        np.testing.assert_allclose(points[there, :2], expected, atol=0.01)


def test_crowd_is_one_region_without_keypoints():
    owner = np.zeros((40, 60), np.int16)
    owner[10:20, 10:14] = 1
    owner[12:20, 16:22] = 2
    points, flags = np.zeros((21, 2)), np.zeros(21, int)
    figures = [Figure(n, points, flags, crowd=True) for n in (1, 2)]
    figures.append(Figure(3, points, flags))  # of whom nothing is seen
    image = np.zeros((40, 60, 3), np.uint8)
    (crowd,) = annotate(Scene(image, owner, figures), 1)
    assert crowd['iscrowd'] == 1 and crowd['num_keypoints'] == 0
    assert crowd['keypoints'] == [0] * 51
    assert crowd['bbox'] == [10, 10, 12, 10] and crowd['area'] == 88
    np.testing.assert_array_equal(
        rasterise(crowd['segmentation'], owner.shape), owner > 0
    )


def test_lip_row_is_relative_to_the_crop():
    points = np.full((21, 2), 50.0)
    flags = np.full(21, 2)
    ankle, thorax = map(KEYPOINTS.index, ('right_ankle', 'thorax'))
    knee, top = map(KEYPOINTS.index, ('left_knee', 'head_top'))
    points[ankle] = (30.4, 90.6)
    flags[thorax] = 1
    flags[knee] = 0
    points[top] = (5, 50)  # left of the crop
    figure = Figure(1, points, flags)
    row = lip_row(figure, np.array([20, 10, 80, 100]), 'a.jpg')
    assert len(row) == 1 + 3 * 16
    joints = [row[1 + 3 * i : 4 + 3 * i] for i in range(16)]
    assert row[0] == 'a.jpg'
    assert joints[0] == ['10', '81', '0']  # right ankle first
    assert joints[7] == ['30', '40', '1']  # thorax
    assert joints[4] == joints[9] == ['nan'] * 3
