import cv2
import numpy as np

from mmpose_ext.synthetic.contact_sheet import (
    _LEFT,
    _RIGHT,
    draw_annotations,
    draw_contact_sheet,
)


def test_sheet_shows_the_images_and_every_other_annotation(toy_persons):
    sheet = draw_contact_sheet(toy_persons, columns=3, rows=2, zoom=2)
    assert sheet.shape == (2 * 384, 3 * 512, 3)
    for index in range(2):
        image = cv2.imread(str(toy_persons / f'train/{index + 1:012d}.jpg'))
        plain = cv2.resize(
            image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC
        )
        tile = sheet[:384, index * 512 : (index + 1) * 512]
        assert (tile == plain).all() == (index == 0)


def test_written_sheet_is_the_drawn_one(toy_persons):
    written = cv2.imread(str(toy_persons / 'contact_sheet.png'))
    np.testing.assert_array_equal(written, draw_contact_sheet(toy_persons))


def test_own_sides_have_their_colours():
    keypoints = np.zeros((17, 3))
    keypoints[7], keypoints[9] = (30, 10, 2), (30, 40, 2)  # left forearm
    keypoints[8], keypoints[10] = (10, 10, 2), (10, 40, 2)
    keypoints = keypoints.reshape(-1).tolist()
    person = dict(bbox=[5, 5, 40, 40], iscrowd=0, keypoints=keypoints)
    drawn = draw_annotations(np.zeros((60, 60, 3), np.uint8), [person], zoom=2)
    column = drawn[50].astype(int)
    assert np.abs(column[58:64] - _LEFT).sum(1).min() < 150
    assert np.abs(column[18:24] - _RIGHT).sum(1).min() < 150
    assert not drawn[100:].any()
