import pytest

from mmpose_ext.errors import InputError


@pytest.mark.parametrize(
    'box',
    [
        None,
        'abcd',
        {},
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [1, 2, 3, None],
        [1, 2, 3, '4'],
        [1, 2, 3, True],
        [[1, 2], [3, 4]],
        [1, float('nan'), 3, 4],
        [1, 2, float('inf'), 4],
        [1, 2, 3, 10**400],
        [1, 2, 3, 1.1e6],
        [1, 2, -3, 4],
        [1, 2, 3, -0.5],
    ],
)
def test_what_is_no_box(read, content, box):
    content['annotations'][1]['bbox'] = box
    message = r'annotation 8: bbox .*, expected \[x, y, width, height\], fin'
    with pytest.raises(InputError, match=message):
        read(content)
    del content['annotations'][1]['bbox']
    with pytest.raises(InputError, match='annotation 8: bbox nothing'):
        read(content)


@pytest.mark.parametrize('box', [[-5, 2, 30, 40], [1, 2, 0, 4], [0, 0, 1, 1],
                                 [0.5, 0, 1, 1], [0, 0, 0, 0]])  # fmt: skip
def test_boxes_that_are_rare(read, content, box):
    content['annotations'][1]['bbox'] = box
    assert read(content)['annotations'][1]['bbox'] == box


@pytest.mark.parametrize('box', [[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 0.5],
                                 [0.25, 0, 0.75, 1]])  # fmt: skip
def test_fractions(read, content, box):
    content['annotations'][1]['bbox'] = box
    message = r'annotation 8: bbox .*, expected px, not fractions of the ima'
    with pytest.raises(InputError, match=message):
        read(content)


def test_boxes_that_leave_their_image_are_counted(read, content, warnings):
    assert read(content) and not warnings
    # In images of 100 x 80 and 60 x 90; 2 px are let pass.
    content['annotations'][0]['bbox'] = [72, 42, 30, 40]
    assert read(content) and not warnings
    content['annotations'][0]['bbox'] = [72, 42, 30, 41]
    content['annotations'][2]['bbox'] = [0, 0, 63, 90]
    read(content)
    assert len(warnings) == 1
    assert '2 of 3 annotations (67%) have a box that leaves' in warnings[0]
    assert warnings[0].endswith('annotation 7, bbox [72, 42, 30, 41])')


def test_one_box_in_ten_may_leave_its_image(read, content, warnings):
    first = content['annotations'][0]
    content['annotations'] = [dict(first, id=i) for i in range(1, 11)]
    content['annotations'][3]['bbox'] = [90, 20, 30, 40]
    assert read(content) and not warnings
    content['annotations'][4]['bbox'] = [90, 20, 30, 40]
    assert read(content) and '20%' in warnings[0]


@pytest.mark.parametrize('area', [None, 0, 0.0, -3, float('nan')])
def test_areas_are_estimated(read, content, area, warnings):
    for annotation in content['annotations'][1:]:
        annotation['area'] = area
        if area is None:
            del annotation['area']
    found = [a['area'] for a in read(content)['annotations']]
    # 0.53 * 30 * 40 and 0.53 * 60 * 90
    assert found == [900.5, pytest.approx(636), pytest.approx(2862)]
    assert len(warnings) == 1
    assert '2 of 3 annotations have no area above 0.001' in warnings[0]
    assert warnings[0].endswith('(the first: annotation 8)')


@pytest.mark.parametrize('area', [None, '3', True, [3], float('inf'),
                                  -float('inf'), 10**400])  # fmt: skip
def test_what_is_no_area(read, content, area):
    content['annotations'][1]['area'] = area
    with pytest.raises(InputError, match=r'annotation 8: area .*, expected a'):
        read(content)


def test_areas_that_must_be_there(read, content):
    content['annotations'][0]['area'] = 0
    found = read(content, estimate_areas=False)
    assert found['annotations'][0]['area'] == 0
    del content['annotations'][1]['area']
    with pytest.raises(InputError, match='annotation 8: area nothing'):
        read(content, estimate_areas=False)


@pytest.mark.parametrize(
    ('value', 'expected'), [(0, 0), (1, 1), (True, 1), (False, 0), (1.0, 1)]
)
def test_crowds(read, content, value, expected):
    content['annotations'][0]['iscrowd'] = value
    del content['annotations'][2]['iscrowd']
    found = [a['iscrowd'] for a in read(content)['annotations']]
    assert found == [expected, 1, 0] and {type(v) for v in found} == {int}


@pytest.mark.parametrize('value', [None, 2, -1, 0.5, '0', [0]])
def test_what_is_no_crowd(read, content, value):
    content['annotations'][1]['iscrowd'] = value
    with pytest.raises(InputError, match=r'8: iscrowd .*, expected 0 or 1'):
        read(content)


def test_areas_beyond_what_coco_evaluates(read, content):
    content['annotations'][1]['area'] = 1e10
    assert read(content)['annotations'][1]['area'] == 1e10
    content['annotations'][1]['area'] = 1.0001e10
    with pytest.raises(InputError, match=r'area 10001000000\.0, .* 1e10'):
        read(content)


def test_areas_of_about_0_are_estimated(read, content):
    for area, expected in ((1e-300, 636), (9e-4, 636), (1e-3, 1e-3)):
        content['annotations'][0]['area'] = area  # the box is 30 x 40
        found = read(content)['annotations'][0]['area']
        assert found == pytest.approx(expected)
