import pytest

from mmpose_ext import checks
from mmpose_ext.errors import InputError


def boxes(**changes):
    box = dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=0.5)
    return [box, {**box, 'score': 0.9, **changes}]


def test_number_of_boxes_left():
    count = checks.check_detections
    assert count([], 'd.json', [1]) == 0
    assert count(boxes(), 'd.json', [1]) == 2
    assert count(boxes(bbox=[1, 2, 0.5, 4]), 'd.json', [1]) == 2
    assert count(boxes(), 'd.json', [1], score_thr=0.5) == 2
    assert count(boxes(), 'd.json', [1], score_thr=0.6) == 1
    assert count(boxes(), 'd.json', [1], score_thr=0.91) == 0
    # other categories are not looked at, as in MMPose
    assert count(boxes(category_id=2, bbox=[0, 0, 0, 0]), 'd.json', [1]) == 1


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(boxes=[]), 'must be a list .* got a dict'),
        ([3], 'entry 0: 3, expected an object'),
        ([dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4])],
         'entry 0: score nothing, expected a finite number'),
        (boxes(image_id=5), r'1 image ids .*\(5\).*another dataset or split'),
        ([boxes(image_id=i)[1] for i in range(5)],
         r'4 image ids .*\(0, 2, 3, \.\.\.\)'),
        (boxes(image_id=1.0), 'entry 1: image_id 1.0, expected a whole'),
        (boxes(image_id='1'), "entry 1: image_id '1', expected a whole"),
        (boxes(image_id=True), 'entry 1: image_id True, expected a whole'),
        (boxes(image_id=[]), r'entry 1: image_id \[\], expected a whole'),
        (boxes(category_id=None), 'entry 1: category_id None, expected a'),
        (boxes(category_id=True), 'entry 1: category_id True, expected a'),
        (boxes(bbox=[1, 2, 0, 4]), r'entry 1: bbox \[1, 2, 0, 4\]'),
        (boxes(bbox=[1, 2, 3, -4]), 'area above zero'),
        (boxes(bbox=[float('inf'), 2, 3, 4]), r'entry 1: bbox \[inf'),
        (boxes(bbox=[1, 2, 3, 10**400]), r'entry 1: bbox \[1, 2, 3, 100'),
        (boxes(bbox=[1, 2, 3, True]), r'entry 1: bbox \[1, 2, 3, True\]'),
        (boxes(bbox=[1, 2, 3]), r'entry 1: bbox \[1, 2, 3\], expected'),
        (boxes(bbox='abcd'), "entry 1: bbox 'abcd', expected"),
        (boxes(bbox=None), 'entry 1: bbox None, expected'),
        (boxes(bbox=[0.1, 0.2, 0.3, 0.4]), 'px, not fractions'),
        (boxes(score=float('nan')), 'entry 1: score nan, expected a finite'),
        (boxes(score='0.9'), "entry 1: score '0.9', expected a finite"),
        ([boxes(category_id=0)[1]], r'none of its 1 boxes .* has 0$'),
        ([boxes(score=None)[1]] * 12, '12 problems:(?s:.*)and 2 more$'),
    ],
)  # fmt: skip
def test_wrong_boxes(content, message):
    with pytest.raises(InputError, match=message) as e:
        checks.check_detections(content, 'd.json', [1])
    assert str(e.value).startswith("detection file 'd.json'")


def test_numbers_behind_a_box_are_no_matter():
    content = boxes(bbox=[1, 2, 3, 4, 0.7])
    assert checks.check_detections(content, 'd.json', [1]) == 2
