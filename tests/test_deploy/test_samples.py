"""Images to compare and calibrate with."""

import json

import cv2
import numpy as np
import pytest

from mmpose_ext.deploy.samples import (
    draw_samples,
    read_annotated_boxes,
    read_samples,
)
from mmpose_ext.errors import InputError

CATEGORIES = [dict(id=1, name='person')]


def test_boxes_of_an_annotation_file(tmp_path):
    persons = [
        dict(image_id=1, bbox=[1, 2, 10, 20], iscrowd=0),
        dict(image_id=1, bbox=[5, 5, 0, 9], iscrowd=0),
        dict(image_id=1, bbox=[0, 0, 9, 9], iscrowd=1),
        dict(image_id=1, bbox=[3, 4, 5, 6]),
    ]
    persons = [dict(p, id=i, category_id=1) for i, p in enumerate(persons)]
    size = dict(width=40, height=40)
    images = [
        dict(id=1, file_name='x/a.jpg', **size),
        dict(id=2, file_name='b.jpg', **size),
    ]
    path = tmp_path / 'ann.json'
    content = dict(images=images, annotations=persons, categories=CATEGORIES)
    path.write_text(json.dumps(content))
    boxes = read_annotated_boxes(str(path))
    assert list(boxes) == ['a.jpg']
    np.testing.assert_array_equal(
        boxes['a.jpg'], [[1, 2, 11, 22, 1], [3, 4, 8, 10, 1]]
    )


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(bbox=[1, 2, 3]), r'annotation 1: bbox \[1, 2, 3\], expected'),
        (dict(file_name='y/a.jpg'), 'images of the same name'),
    ],
)
def test_annotations_that_are_wrong(change, message, tmp_path):
    size = dict(width=40, height=40)
    images = [
        dict(id=1, file_name='x/a.jpg', **size),
        dict(id=2, file_name=change.get('file_name', 'b.jpg'), **size),
    ]
    person = dict(id=1, image_id=1, category_id=1)
    person['bbox'] = change.get('bbox', [1, 2, 3, 4])
    path = tmp_path / 'ann.json'
    content = dict(images=images, annotations=[person], categories=CATEGORIES)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_annotated_boxes(str(path))


def test_images_in_one_random_order(tmp_path):
    paths = [tmp_path / f'{i}.png' for i in range(8)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((4, 4, 3), i, np.uint8))
    order = [image[0, 0, 0] for image, _ in read_samples(paths)]
    assert sorted(order) == list(range(8)) != order
    again = [image[0, 0, 0] for image, _ in read_samples(paths)]
    assert again == order

    boxes = {'3.png': np.ones((2, 5))}
    ((image, found),) = read_samples(paths, boxes)
    assert image.max() == 3
    assert found is boxes['3.png']
    with pytest.raises(InputError, match=r"no person of '.*0.png'"):
        next(read_samples(paths, {}))


def test_drawn_persons():
    samples = draw_samples(3, with_boxes=True)
    assert len(samples) == 3
    boxes = np.concatenate([b for _, b in samples if b is not None])
    assert (boxes[:, 2:4] > boxes[:, :2]).all()
    assert draw_samples(1, with_boxes=False)[0][1] is None
    np.testing.assert_array_equal(
        draw_samples(1, with_boxes=False)[0][0], samples[0][0]
    )
