import copy
import json

import pytest

from mmpose_ext.errors import InputError


def test_a_file_without_fault_is_left_as_it_is(read, content, warnings):
    before = copy.deepcopy(content)
    assert read(content) == before
    assert not warnings


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([], 'is not in COCO format: .* got a list'),
        (None, 'is not in COCO format: .* got a NoneType'),
        (3, 'is not in COCO format: .* got a int'),
        (dict(data_list=[], metainfo={}),
         "got an object with 'data_list', 'metainfo'"),
        (dict(images=[]), "'images': got an empty list, expected images"),
        (dict(images=None), "'images': got None, expected a list of objects"),
        (dict(images=dict(a=1)), "'images': got an object, expected a list"),
        (dict(images='abc'), "'images': got a str, expected a list"),
        (dict(images=[{}, None]), "'images' at index 1: got None, expected"),
        (dict(images=[{}], annotations=None), "'annotations': got None"),
        (dict(images=[{}], annotations={}), "'annotations': got an object"),
        (dict(images=[{}], annotations=[[]]), r"index 0: got \[\], expec"),
        (dict(images=[{}], annotations=[{}]), "'categories': got nothing"),
        (dict(images=[{}], categories=3), "'categories': got a int"),
        (dict(images=[{}], categories=['a']), "'categories' at index 0"),
    ],
)  # fmt: skip
def test_structure(read, content, message):
    with pytest.raises(InputError, match=message):
        read(content)


def test_images_alone(read, content):
    found = read(dict(images=content['images']))
    assert found['annotations'] == found['categories'] == []


def test_problems_of_all_kinds_are_in_one_message(read, content):
    content['images'][0]['width'] = None
    content['annotations'][0].update(bbox=None, area='3', iscrowd=7)
    content['annotations'][1].update(id=0.5, segmentation=3)
    content['annotations'][2].update(image_id=5, keypoints=[1] * 8)
    content['categories'][0].update(name=1)
    with pytest.raises(InputError) as e:
        read(content)
    lines = str(e.value).split('\n')
    assert lines[0].endswith("a.json' has 9 problems:") and len(lines) == 10
    for text in (
        *('image 3: width', 'annotation 7: bbox', 'annotation 7: area'),
        *('annotation 7: iscrowd', 'annotation at index 1: id 0.5'),
        *('annotation at index 1: segmentation', 'annotation 21: image_id'),
        *('annotation 21: keypoints', 'category 1: name'),
    ):
        assert sum(text in line for line in lines) == 1, text


@pytest.mark.parametrize('part', ['images', 'annotations', 'categories'])
@pytest.mark.parametrize('wrap', ['list', 'dict'])
def test_what_no_rule_knows_may_not_be_deep(read, content, part, wrap):
    value = 1
    for _ in range(50):
        value = [value] if wrap == 'list' else dict(a=value)
    content[part][0]['extra'] = value
    copy.deepcopy(read(content))
    content[part][0]['extra'] = [value]
    with pytest.raises(InputError, match=r"'extra', expected .* 50 levels"):
        read(content)


def test_warnings_name_the_file(read, content, warnings):
    del content['annotations'][0]['area']
    read(content)
    assert warnings[0].startswith('annotation file ') and len(warnings) == 1
    assert "a.json': 1 of 3 annotations have no area" in warnings[0]


def test_nothing_is_warned_of_a_file_that_is_refused(read, content, warnings):
    del content['annotations'][0]['area']
    content['annotations'][1]['bbox'] = None
    with pytest.raises(InputError):
        read(content)
    assert not warnings


def test_repeated_keys(read, content):
    text = json.dumps(content)
    assert '"area": 900.5, ' in text
    double = text.replace('"area": 900.5', '"area": 900.5, "area": 3', 1)
    with pytest.raises(
        InputError, match=r"1 object with.* 'area' twice .*is 7"
    ):
        read(double)
