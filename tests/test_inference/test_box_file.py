"""Files of person boxes."""

import json

import numpy as np
import pytest
from PIL import Image

from mmpose_ext.errors import InputError
from mmpose_ext.inference import read_boxes, read_images
from mmpose_ext.inference.box_file import as_entries


def write(path, data):
    path.write_text(json.dumps(data))
    return path


def annotations(path, *images):
    images = [
        dict(id=id_, file_name=name, width=9, height=9) for id_, name in images
    ]
    return write(path, dict(images=images, annotations=[], categories=[]))


def test_images_in_the_order_of_the_file(tmp_path):
    for name in ('a.jpg', 'b.jpg'):
        (tmp_path / name).touch()
    ann_file = annotations(tmp_path / 'x.json', (7, 'b.jpg'), (2, 'a.jpg'))
    assert read_images(ann_file, tmp_path) == [
        (7, tmp_path / 'b.jpg'),
        (2, tmp_path / 'a.jpg'),
    ]


def test_images_that_cannot_be_listed(tmp_path):
    (tmp_path / 'a.jpg').touch()
    for images, message in [
        ([(1, 'a.jpg'), (2, 'gone.jpg')], r'gone\.jpg.*id 2'),
        ([(1, 'a.jpg'), (1, 'a.jpg')], 'image 1: also at .*each id once'),
        ([], r'x\.json.*got an empty list, expected images'),
    ]:
        with pytest.raises(InputError, match=message):
            read_images(annotations(tmp_path / 'x.json', *images), tmp_path)


def test_images_of_another_size(tmp_path):
    """As photographs with an EXIF orientation have it."""
    ann_file = annotations(tmp_path / '1.json', (1, 'a.png'))
    (image,) = json.loads(ann_file.read_text())['images']
    size = image['width'], image['height']
    Image.new('RGB', size).save(tmp_path / 'a.png')
    assert read_images(ann_file, tmp_path) == [(1, tmp_path / 'a.png')]
    Image.new('RGB', (size[0], size[1] + 1)).save(tmp_path / 'a.png')
    with pytest.raises(InputError, match=r'image 1: .* px, expected'):
        read_images(ann_file, tmp_path)


def test_entries():
    found = np.array(
        [
            [1.00049, 2, 4, 8, 0.1234567],
            [5, 5, 5.0004, 9, 0.1],  # no area once rounded
        ],
        dtype=np.float32,
    )
    assert as_entries(3, found) == [
        dict(
            image_id=3,
            category_id=1,
            bbox=[1.0, 2.0, 3.0, 6.0],
            score=0.123457,
        )
    ]
    assert as_entries(3, found[:0]) == []


def test_boxes_by_file_name(tmp_path):
    ann_file = annotations(
        tmp_path / 'x.json', (1, 'a.jpg'), (2, 'b.jpg'), (3, 'c.jpg')
    )
    box = dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=0.25)
    better = dict(image_id=1, category_id=1, bbox=[0, 0, 9, 9], score=0.5)
    horse = dict(image_id=2, category_id=19, bbox=[1, 2, 3, 4], score=0.9)
    boxes = read_boxes(
        write(tmp_path / 'boxes.json', [box, better, horse]), ann_file
    )
    assert list(boxes) == ['a.jpg', 'b.jpg', 'c.jpg']
    np.testing.assert_array_equal(
        boxes['a.jpg'], [[0, 0, 9, 9, 0.5], [1, 2, 4, 6, 0.25]]
    )
    assert boxes['b.jpg'].shape == boxes['c.jpg'].shape == (0, 5)

    other = write(tmp_path / 'other.json', [{**box, 'image_id': 99}])
    with pytest.raises(InputError, match=r'other\.json.*99'):
        read_boxes(other, ann_file)
