import pytest

from mmpose_ext.errors import InputError


def ids_of(read, content, key, values=()):
    """Give annotations values under a key; return those that are read."""
    for annotation, value in zip(content['annotations'], values):
        annotation[key] = value
    return [a[key] for a in read(content)['annotations']]


@pytest.mark.parametrize(
    ('part', 'message'),
    [
        ('images', 'image 3: also at index 1 of images, first at 0, expected'),
        ('categories', 'category 1: also at index 1 of categories, first at '),
        ('annotations', 'annotation 7: also at index 1 of annotations, first '
         'at 0 (of the images 4 and 3), expected each id once'),
    ],
)  # fmt: skip
def test_repeated_ids(read, content, part, message):
    content['categories'].append(dict(id=2, name='dog'))
    content['annotations'][1]['image_id'] = 4
    content['annotations'][1].update(segmentation=[])
    content[part][1]['id'] = content[part][0]['id']
    with pytest.raises(InputError) as e:
        read(content)
    assert message in str(e.value)


@pytest.mark.parametrize('value', ['7', None, True, 2.5, [7], 2**63,
                                   float('nan'), ...])  # fmt: skip
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
    if value is ...:
        del content[part][0][key]
        place += 'nothing'
    with pytest.raises(InputError, match=place + '.* expected a whole number'):
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
        f"  annotation {id_}: {key}, expected the id of one of the file's "
        + partner
        for id_, key, partner in (
            (7, 'image_id 5', 'images'),
            (8, 'image_id 1000000', 'images'),
            (21, 'category_id 0', 'categories'),
        )
    ]
    assert 'has 3 problems:' in str(e.value)


def test_ids_of_annotations_start_at_1(read, content):
    for given, expected in (
        ((0, 1, 2), [1, 2, 3]),
        ((-2, 0, 5), [1, 3, 8]),
        ((-2, 3, 5), [1, 6, 8]),
        ((1, 2, 3), [1, 2, 3]),
        ((7, 8, 21), [7, 8, 21]),
        # What float64 holds, but not beyond.
        ((-(2**53), 2**53, 21), [1, 2**54 + 1, 2**53 + 22]),
    ):
        assert ids_of(read, content, 'id', given) == expected
    message = r'at index 1: id 9223372036854775807, expected a .* to 2\^53'
    with pytest.raises(InputError, match=message):
        ids_of(read, content, 'id', (-(2**63), 2**63 - 1))


def test_image_0(read, content):
    content['images'][0]['id'] = 0
    assert ids_of(read, content, 'image_id', (0, 0, 4)) == [0, 0, 4]


def test_floats_that_are_whole_become_whole(read, content):
    keys = dict(
        images=('id', 'width', 'height'),
        annotations=('id', 'image_id', 'category_id'),
        categories=('id',),
    )
    for part in keys:
        for item in content[part]:
            item.update({key: float(item[key]) for key in keys[part]})
    found = read(content)
    for part in keys:
        assert {type(i[k]) for i in found[part] for k in keys[part]} == {int}
    assert found['images'][1]['id'] == found['annotations'][2]['image_id'] == 4


@pytest.mark.parametrize('id_', [0, 5])
def test_the_only_category_with_keypoints_gets_the_id_1(
    read, content, id_, warnings
):
    content['categories'] = [
        dict(id=1, name='ball'),
        dict(id=id_, name='person'),
    ]
    del content['annotations'][2]['keypoints']
    del content['annotations'][2]['num_keypoints']
    # The ball has keypoints, too, once those that lack some are completed.
    found = ids_of(read, content, 'category_id', (id_, id_, 1))
    assert found == [1, 1, id_]
    assert [c['id'] for c in read(content)['categories']] == [id_, 1]
    assert len(warnings) == 1
    assert f'the category {id_}, the only one with keypoints' in warnings[0]


def test_several_categories_with_keypoints_keep_their_ids(
    read, content, warnings
):
    content['categories'] = [dict(id=i, name=str(i)) for i in (4, 5)]
    assert ids_of(read, content, 'category_id', (4, 4, 5)) == [4, 4, 5]
    assert len(warnings) == 1
    assert ': 2 categories have keypoints: MMPose gives the' in warnings[0]


@pytest.mark.parametrize('name', [None, 3, 'person', ['x'], ...])
def test_names_of_categories(read, content, name):
    content['categories'].append(dict(id=2, name=name))
    if name is ...:
        del content['categories'][1]['name']
        name = 'nothing'
    message = r'category 2: name .*, expected a name that no other category'
    with pytest.raises(InputError, match=message) as e:
        read(content)
    assert ('nothing' in str(e.value)) == (name == 'nothing')
