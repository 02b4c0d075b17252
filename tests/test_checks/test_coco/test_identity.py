import pytest

from mmpose_ext.errors import InputError


def test_repeated_ids_of_annotations_name_both(read, content):
    content['annotations'][2]['id'] = 7
    with pytest.raises(InputError) as e:
        read(content)
    assert str(e.value).endswith(
        ', annotation 7: also at index 2 of annotations, first at 0 (of the '
        'images 4 and 3), expected each id once'
    )


@pytest.mark.parametrize(
    ('part', 'index', 'message'),
    [
        ('images', 1, 'image 3: also at index 1 of images, first at 0'),
        ('categories', 1, 'category 1: also at index 1 of categories, first'),
    ],
)
def test_repeated_ids(read, content, part, index, message):
    content['categories'].append(dict(id=2, name='dog'))
    content[part][index]['id'] = content[part][0]['id']
    with pytest.raises(InputError) as e:
        read(content)
    assert message in str(e.value)


@pytest.mark.parametrize('value', ['7', None, True, 2.5, [7], 2**63,
                                   float('nan')])  # fmt: skip
@pytest.mark.parametrize(
    ('part', 'key', 'place'),
    [
        ('annotations', 'id', 'annotation at index 0: id '),
        ('annotations', 'image_id', 'annotation 7: image_id '),
        ('annotations', 'category_id', 'annotation 7: category_id '),
        ('images', 'id', 'image at index 0: id '),
        ('categories', 'id', 'category at index 0: id '),
    ],
)
def test_what_is_no_id(read, content, part, key, place, value):
    content[part][0][key] = value
    with pytest.raises(InputError, match=place + '.* expected a whole number'):
        read(content)
    del content[part][0][key]
    with pytest.raises(InputError, match=f'{place}nothing, expected a whole'):
        read(content)


def test_what_is_no_id_repeats_no_id(read, content):
    content['annotations'][0]['id'] = 'x'
    content['annotations'][1]['id'] = 0
    with pytest.raises(InputError, match=r'a.json., annotation at index 0: '):
        read(content)


def test_ids_without_a_partner_are_counted(read, content):
    content['annotations'][0]['image_id'] = 5
    content['annotations'][1]['image_id'] = 10**6
    content['annotations'][2]['category_id'] = 0
    with pytest.raises(InputError) as e:
        read(content)
    assert str(e.value).split('\n')[1:] == [
        "  annotation 7: image_id 5, expected the id of one of the file's "
        'images',
        '  annotation 8: image_id 1000000, expected the id of one of the '
        "file's images",
        '  annotation 21: category_id 0, expected the id of one of the '
        "file's categories",
    ]
    assert 'has 3 problems:' in str(e.value)


def test_ids_of_annotations_start_at_1(read, content):
    def ids(*values):
        for annotation, value in zip(content['annotations'], values):
            annotation['id'] = value
        return [a['id'] for a in read(content)['annotations']]

    assert ids(0, 1, 2) == [1, 2, 3]
    assert ids(-2, 0, 5) == [1, 3, 8]
    assert ids(-2, 3, 5) == [1, 6, 8]
    assert ids(1, 2, 3) == [1, 2, 3]
    assert ids(7, 8, 21) == [7, 8, 21]


def test_image_0(read, content):
    content['images'][0]['id'] = 0
    for annotation in content['annotations'][:2]:
        annotation['image_id'] = 0
    found = read(content)
    assert [a['image_id'] for a in found['annotations']] == [0, 0, 4]


def test_floats_that_are_whole_become_whole(read, content):
    for part, keys in dict(
        images=('id', 'width', 'height'),
        annotations=('id', 'image_id', 'category_id'),
        categories=('id',),
    ).items():
        for item in content[part]:
            item.update({key: float(item[key]) for key in keys})
    found = read(content)
    for part, keys in dict(
        images=('id', 'width', 'height'),
        annotations=('id', 'image_id', 'category_id'),
        categories=('id',),
    ).items():
        assert {type(i[k]) for i in found[part] for k in keys} == {int}
    assert found['images'][1]['id'] == found['annotations'][2]['image_id'] == 4


@pytest.mark.parametrize('id_', [0, 5])
def test_the_only_category_with_keypoints_gets_the_id_1(
    read, content, id_, warnings
):
    content['categories'] = [
        dict(id=1, name='ball'),
        dict(id=id_, name='person'),
    ]
    for annotation in content['annotations']:
        annotation['category_id'] = id_
    content['annotations'][2].update(category_id=1)
    del content['annotations'][2]['keypoints']
    del content['annotations'][2]['num_keypoints']
    assert read(content)['categories'] == [
        dict(id=id_, name='ball'),
        dict(id=1, name='person'),
    ]
    found = read(content)['annotations']
    # The ball has keypoints, too, once those that lack some are completed.
    assert [a['category_id'] for a in found] == [1, 1, id_]
    assert len(warnings) == 1
    assert f'the category {id_}, the only one with keypoints' in warnings[0]


def test_two_categories_with_keypoints_keep_their_ids(read, content):
    content['categories'] = [dict(id=i, name=str(i)) for i in (4, 5)]
    for annotation in content['annotations']:
        annotation['category_id'] = 4
    content['annotations'][2]['category_id'] = 5
    found = read(content)
    assert [a['category_id'] for a in found['annotations']] == [4, 4, 5]


@pytest.mark.parametrize('name', [None, 3, 'person', ['x']])
def test_names_of_categories(read, content, name):
    content['categories'].append(dict(id=2, name=name))
    with pytest.raises(InputError, match=r'category 2: name .* no other cat'):
        read(content)
    del content['categories'][1]['name']
    with pytest.raises(InputError, match='category 2: name nothing'):
        read(content)


def test_several_categories_with_keypoints_are_warned_of(
    read, content, warnings
):
    content['categories'].append(dict(id=2, name='dog'))
    content['annotations'][2]['category_id'] = 2
    found = read(content)
    assert [a['category_id'] for a in found['annotations']] == [1, 1, 2]
    assert len(warnings) == 1
    assert ': 2 categories have keypoints: MMPose gives the' in warnings[0]


def test_ids_that_float64_does_not_hold(read, content):
    content['annotations'][0]['id'] = -(2**53)
    content['annotations'][1]['id'] = 2**53
    found = [a['id'] for a in read(content)['annotations']]
    assert found == [1, 2**54 + 1, 2**53 + 22]
    content['annotations'][0]['id'] = -(2**63)
    content['annotations'][1]['id'] = 2**63 - 1
    message = r'at index 1: id 9223372036854775807, expected a .* to 2\^53'
    with pytest.raises(InputError, match=message):
        read(content)
