import pytest

from mmpose_ext.errors import InputError

NAN, INF = float('nan'), float('inf')
NO_BOXES = [
    *(None, 'abcd', {}, [1, 2, 3], [1, 2, 3, 4, 5], [[1, 2], [3, 4]]),
    *([1, 2, 3, bad] for bad in (None, '4', True, -0.5, 10**400, 1.1e6)),
    *([1, NAN, 3, 4], [1, 2, INF, 4], [1, 2, -3, 4]),
]


def refused(read, content, key, value, message):
    """Annotation 8 has a wrong value, or none where the value is ``...``."""
    content['annotations'][1][key] = value
    if value is ...:
        del content['annotations'][1][key]
    with pytest.raises(InputError, match=f'annotation 8: {key} {message}'):
        read(content)


@pytest.mark.parametrize('box', [*NO_BOXES, ...])
def test_what_is_no_box(read, content, box):
    message = r'.*, expected \[x, y, width, height\], fin'
    refused(read, content, 'bbox', box, 'nothing' if box is ... else message)


def test_boxes_that_are_rare(read, content):
    for box in ([-5, 2, 30, 40], [1, 2, 0, 4], [0, 0, 1, 1], [0.5, 0, 1, 1],
                [0, 0, 0, 0]):  # fmt: skip
        content['annotations'][1]['bbox'] = box
        assert read(content)['annotations'][1]['bbox'] == box
    for box in ([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 0.5], [0.25, 0, 0.75, 1]):
        message = '.*, expected px, not fractions of the ima'
        refused(read, content, 'bbox', box, message)


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


@pytest.mark.parametrize('area', [..., 0, 0.0, -3, NAN, 1e-300, 9e-4])
def test_areas_are_estimated(read, content, area, warnings):
    for annotation in content['annotations'][1:]:
        annotation['area'] = area
        if area is ...:
            del annotation['area']
    found = [a['area'] for a in read(content)['annotations']]
    # 0.53 * 30 * 40 and 0.53 * 60 * 90
    assert found == [900.5, pytest.approx(636), pytest.approx(2862)]
    assert len(warnings) == 1
    assert '2 of 3 annotations have no area above 0.001' in warnings[0]
    assert warnings[0].endswith('(the first: annotation 8)')


def test_areas(read, content):
    for area in (1e-3, 1e10):
        content['annotations'][1]['area'] = area
        assert read(content)['annotations'][1]['area'] == area
    for area in (None, '3', True, [3], INF, -INF, 10**400, 1.0001e10):
        refused(read, content, 'area', area, r'.*, expected a .* 1e10')


def test_areas_that_must_be_there(read, content):
    content['annotations'][0]['area'] = 0
    found = read(content, estimate_areas=False)
    assert found['annotations'][0]['area'] == 0
    del content['annotations'][1]['area']
    with pytest.raises(InputError, match='annotation 8: area nothing'):
        read(content, estimate_areas=False)


def test_crowds(read, content):
    del content['annotations'][2]['iscrowd']
    for value in (0, 1, True, False, 1.0):
        content['annotations'][0]['iscrowd'] = value
        found = [a['iscrowd'] for a in read(content)['annotations']]
        assert found == [int(value), 1, 0]
        assert {type(v) for v in found} == {int}
    for value in (None, 2, -1, 0.5, '0', [0]):
        refused(read, content, 'iscrowd', value, '.*, expected 0 or 1')
