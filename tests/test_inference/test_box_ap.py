"""COCO's average precision of person boxes."""

import json

import pytest

from mmpose_ext.inference import count_persons, evaluate_boxes


@pytest.fixture
def ann_file(tmp_path):
    """Two persons with category 5, a dog, and an image without boxes."""
    boxes = [(1, 5, [0, 0, 40, 80]), (2, 5, [10, 10, 40, 80])]
    boxes.append((2, 7, [60, 60, 20, 20]))
    annotations = [
        dict(
            id=i + 1,
            image_id=image,
            category_id=category,
            bbox=box,
            area=box[2] * box[3],
            iscrowd=0,
        )
        for i, (image, category, box) in enumerate(boxes)
    ]
    images = [
        dict(id=i, file_name=f'{i}.jpg', width=100, height=100)
        for i in (1, 2, 3)
    ]
    categories = [dict(id=5, name='Person'), dict(id=7, name='dog')]
    path = tmp_path / 'x.json'
    path.write_text(
        json.dumps(
            dict(images=images, annotations=annotations, categories=categories)
        )
    )
    return path


def found(image_id, bbox, score):
    return dict(image_id=image_id, category_id=1, bbox=bbox, score=score)


def test_perfect_boxes(ann_file):
    boxes = [found(1, [0, 0, 40, 80], 0.9), found(2, [10, 10, 40, 80], 0.2)]
    assert evaluate_boxes(ann_file, boxes) == pytest.approx(
        dict(AP=1.0, AP50=1.0)
    )


def test_half_of_the_persons_with_an_iou_of_three_quarters(ann_file):
    """Precision 1 up to recall 1/2, at the thresholds 0.50 to 0.75."""
    boxes = [found(1, [0, 0, 40, 60], 0.9)]
    ap50 = 51 / 101  # of the 101 recalls, those up to 0.50
    assert evaluate_boxes(ann_file, boxes) == pytest.approx(
        dict(AP=0.6 * ap50, AP50=ap50)
    )


def test_false_boxes(ann_file):
    for boxes in ([found(2, [60, 60, 20, 20], 0.9)], []):  # the dog, none
        assert evaluate_boxes(ann_file, boxes) == dict(AP=0.0, AP50=0.0)


def test_count_persons(ann_file):
    assert count_persons(ann_file) == 2
    data = json.loads(ann_file.read_text())
    del data['annotations'], data['categories']
    ann_file.write_text(json.dumps(data))
    assert count_persons(ann_file) == 0


def test_annotations_without_area_and_with_the_id_0(ann_file):
    content = json.loads(ann_file.read_text())
    for annotation in content['annotations']:
        annotation['id'] -= 1
        del annotation['area']
    ann_file.write_text(json.dumps(content))
    assert count_persons(ann_file) == 2
    exact = [found(1, [0, 0, 40, 80], 0.9), found(2, [10, 10, 40, 80], 0.8)]
    assert evaluate_boxes(ann_file, exact) == dict(AP=1.0, AP50=1.0)
