import numpy as np
import pytest

from mmpose_ext.errors import InputError

NAN = float('nan')


def read_second(read, content, keypoints, **changes):
    content['annotations'][1].update(keypoints=keypoints, **changes)
    return read(content)['annotations'][1]


def counts(read, content):
    return [a['num_keypoints'] for a in read(content)['annotations']]


@pytest.mark.parametrize(
    ('keypoints', 'message'),
    [
        (None, 'annotation 8: keypoints None, expected a list of x'),
        ({}, r'annotation 8: keypoints \{\}, expected a list of x'),
        ([1, 2, 2, 3, 4], 'annotation 8: keypoints of 5 numbers, expected 9'),
        ([1, 2, 2] * 2, 'annotation 8: keypoints of 6 numbers, expected 9'),
        ([[1, 2, 2]] * 3, r'8: keypoints \[\[1, .* in one list'),
        ([1, 2, -1, 3, 4, -1, 5, 6, 2],
         r'8: keypoint 0 is \[1, 2, -1\] \(2 such\), expected a visib'),
        ([1, 2, 2, 3, 4, 3, 5, 6, 2], r'8: keypoint 1 is \[3, 4, 3\], exp'),
        ([1, 2, 2, 3, 4, 1, 5, 6, 0.5], r'8: keypoint 2 is \[5, 6, 0.5\], '),
        ([1, 2, NAN, 3, 4, 1, 5, 6, 0], r'8: keypoint 0 is \[1, 2, nan\], '),
        ([1, 2, True, 3, 4, 1, 5, 6, 0], 'keypoint 0 is .*True.* visibility'),
        ([1, 2, '2', 3, 4, 1, 5, 6, 0], "keypoint 0 is .*'2'.* visibility"),
        ([NAN, 2, 2, 3, 4, 1, 5, 6, 0],
         r'keypoint 0 is \[nan, 2, 2\], expected finite px where it is lab'),
        ([1, 2, 2, 3, float('inf'), 1, 5, 6, 0], 'keypoint 1 .* finite px'),
        ([1, 2, 2, 10**400, 4, 1, 5, 6, 0], 'keypoint 1 .* finite px'),
        ([1, 2, 2, 3, 4, 1, 1e7, 6, 1], 'keypoint 2 .* finite px'),
        ([1, '2', 2, 3, 4, 1, 5, 6, 0], 'keypoint 0 .* finite px'),
        ([1, 2, 2, 3, 4, 1, None, 6, 0],
         r'keypoint 2 is \[None, 6, 0\], expected numbers'),
        ([1, 2, 2, 3, 4, 1, 5, False, 0], 'keypoint 2 .* expected numbers'),
        # Fractions, with or without an unlabelled keypoint elsewhere.
        ([0.5, 0.5, 2, 0.2, 0, 1, 0, 0, 0], '8: keypoints .*px, not fraction'),
        ([0.5, 0.5, 2, 0.2, 0, 1, 30, 40, 0], '8: keypoints .*px, not fract'),
        ([1, 0.5, 2, 0.2, 0, 1, 0, 0, 0], '8: keypoints .*px, not fractions'),
    ],
)  # fmt: skip
def test_what_is_no_keypoint(read, content, keypoints, message):
    with pytest.raises(InputError, match=message):
        read_second(read, content, keypoints)


@pytest.mark.parametrize(
    ('keypoints', 'message'),
    [
        ([1, 2], 'keypoints of 2 numbers, expected three for each keypoint'),
        ([[15, 30, 2], [20, 35, 1]], r'keypoints \[\[15, .*not lists\n'),
    ],
)
def test_what_all_have_and_is_no_keypoint(read, content, keypoints, message):
    for annotation in content['annotations']:
        annotation['keypoints'] = keypoints
    with pytest.raises(InputError, match=f'annotation 7: {message}') as e:
        read(content)
    assert 'has 3 problems' in str(e.value)


@pytest.mark.parametrize('value', [NAN, float('inf'), 1e7, 10**400])
def test_unlabelled_keypoints_are_at_0(read, content, value, warnings):
    found = read_second(read, content, [1, 2, 2, value, 4, 0, 5, 6, 1])
    assert found['keypoints'] == [1, 2, 2, 0, 0, 0, 5, 6, 1]
    assert len(warnings) == 1
    assert '1 of 3 annotations have keypoints without a lab' in warnings[0]


@pytest.mark.parametrize(
    'keypoints',
    [
        [1, 2, 2.0, -9, 4, 0.0, 5, 6, 1],  # unlabelled, outside
        [0.5, 0.5, 2, 0, 0, 0, 0, 0, 0],  # one alone may be in the first px
        [0, 0, 2, 1, 1, 1, 0, 0, 0],  # px
        [0.5, 0.5, 2, 0.2, 1.5, 1, 0, 0, 0],
        [0.5, 0.5, 2, -0.2, 0, 1, 0, 0, 0],
    ],
)
def test_keypoints_that_stay(read, content, keypoints, warnings):
    seen = sum(v > 0 for v in keypoints[2::3])
    found = read_second(read, content, keypoints, num_keypoints=seen)
    assert found['keypoints'] == keypoints and found['num_keypoints'] == seen
    assert not warnings


def test_who_has_no_keypoints_gets_unlabelled_ones(read, content):
    for keypoints in ([], None):
        content['annotations'][1]['keypoints'] = keypoints
        if keypoints is None:
            del content['annotations'][1]['keypoints']
        found = read(content)['annotations'][1]
        assert found['keypoints'] == [0] * 9 and found['num_keypoints'] == 0
    for annotation in content['annotations']:
        annotation.pop('keypoints', None)
        annotation.pop('num_keypoints', None)
    for annotation in read(content)['annotations']:
        assert 'keypoints' not in annotation


def test_counts(read, content, warnings):
    del content['annotations'][0]['num_keypoints']
    content['annotations'][1]['num_keypoints'] = 2.0
    assert counts(read, content) == [2, 2, 2] and not warnings
    content['annotations'][1]['num_keypoints'] = 0
    content['annotations'][2]['num_keypoints'] = 3
    assert counts(read, content) == [2, 2, 2] and len(warnings) == 1
    assert '2 of 3 annotations have a num_keypoints that is' in warnings[0]
    for value in (None, '2', True, 1.5, NAN):
        content['annotations'][1]['num_keypoints'] = value
        with pytest.raises(
            InputError, match=r'num_keypoints .*, expected a who'
        ):
            read(content)


def test_crowdpose_counts_neither_head_nor_neck(read, content, warnings):
    content['images'][0]['crowdIndex'] = 0.3
    content['annotations'][1]['num_keypoints'] = 1
    assert counts(read, content) == [2, 1, 2] and not warnings
    content['annotations'][1]['num_keypoints'] = 3
    assert counts(read, content) == [2, 2, 2] and len(warnings) == 1


def test_other_keypoints_of_whole_bodies(read, content):
    hand = [0.0, 0.0, 0.0, 30.5, 40.25, 0.75]
    content['annotations'][1].update(lefthand_kpts=hand, face_valid=False)
    assert read(content)['annotations'][1]['lefthand_kpts'] == hand
    for wrong in (None, [1, 2], [1, 2, None], [1, 2, NAN], 'abc'):
        content['annotations'][1]['lefthand_kpts'] = wrong
        with pytest.raises(InputError, match=r'8: lefthand_kpts .* expected'):
            read(content)


def test_everybody_is_read_as_numpy_has_it(read, content):
    rng = np.random.default_rng(0)
    for annotation in content['annotations']:
        points = rng.uniform(1, 60, (3, 3)).round(2)
        points[:, 2] = rng.integers(0, 3, 3)
        annotation['keypoints'] = points.ravel().tolist()
    found = read(content)['annotations']
    for given, annotation in zip(content['annotations'], found):
        assert annotation['keypoints'] == given['keypoints']
        seen = np.reshape(given['keypoints'], (-1, 3))[:, 2]
        assert annotation['num_keypoints'] == (seen > 0).sum()
