import numpy as np
import pycocotools.mask as coco_mask
import pytest

from mmpose_ext.checks.coco.segmentations import is_empty, sum_texts
from mmpose_ext.errors import InputError

NAN = float('nan')
TRIANGLE = [10, 20, 40, 20, 40, 60]
# Of images of 100 x 80 px.
EMPTY = dict(size=[80, 100], counts=[8000])


def read_second(read, content, segmentation):
    content['annotations'][1]['segmentation'] = segmentation
    return read(content)['annotations'][1]['segmentation']


@pytest.mark.parametrize(
    'segmentation',
    [
        [TRIANGLE],
        [TRIANGLE, [0.5, 0, 1, 2, 3, 4, 5, 6]],
        [[-3, 20, 140, 20, 40, 60]],
        dict(size=[80, 100], counts=[0, 8000]),
        dict(size=[80, 100], counts=[10, 20, 7970]),
        # The same as a text, and one of an empty mask.
        dict(size=[80, 100], counts=':d0Ri7'),
        dict(size=[80, 100], counts='Pj7'),
    ],
)
def test_forms_that_are_left_as_they_are(read, content, segmentation):
    if isinstance(segmentation, dict):
        mask = segmentation
        if isinstance(mask['counts'], list):
            mask = coco_mask.frPyObjects(mask, 80, 100)
        assert coco_mask.decode(mask).shape == (80, 100)
    assert read_second(read, content, segmentation) == segmentation


@pytest.mark.parametrize('segmentation', [None, [], [[]], [[1, 2]],
                                          [[1, 2, 3, 4]]])  # fmt: skip
def test_nothing_becomes_an_empty_mask(read, content, segmentation):
    assert read_second(read, content, segmentation) == EMPTY
    del content['annotations'][1]['segmentation']
    assert read(content)['annotations'][1]['segmentation'] == EMPTY


def test_polygons_of_two_points_are_left_out(read, content, warnings):
    found = read_second(read, content, [[1, 2, 3, 4], TRIANGLE, [5, 6]])
    assert found == [TRIANGLE]
    assert len(warnings) == 1
    assert '1 of 3 annotations have polygons of fewer than' in warnings[0]


@pytest.mark.parametrize(
    'segmentation',
    [
        *(TRIANGLE, 'abc', 3, True, [None], ['abcdef'], [{}]),
        *([[1, 2, 3, 4, 5, bad]] for bad in (None, '6', True, NAN, 10**400)),
        *([[1, 2, 3, 4, 5, 1e9]], [[1, 2, 3, 4, 5, 6, 7]]),
        *([[[1, 2], [3, 4], [5, 6]]], [TRIANGLE, [1, 2, 3]], [TRIANGLE, 5]),
        dict(EMPTY, x=[1]),
    ],
)
def test_what_is_no_segmentation(read, content, segmentation):
    message = r'annotation 8: segmentation .*, expected polygons \[\[x1, y1, '
    with pytest.raises(InputError, match=message):
        read_second(read, content, segmentation)


@pytest.mark.parametrize(
    ('size', 'counts', 'message'),
    [
        ([100, 80], [8000], r'the size \[100, 80\], expected the \[height,'),
        ([80], [8000], r'the size \[80\], expected'),
        (None, [8000], 'the size None, expected'),
        ([80, '100'], [8000], "the size .80, '100'., expected"),
        ([80, 100.5], [8000], 'the size .80, 100.5., expected'),
        ([80, 100], None, 'the counts None, expected run lengths'),
        ([80, 100], 8000, 'the counts 8000, expected run lengths'),
        ([80, 100], [], r'the counts \[\], expected run lengths'),
        ([80, 100], [10, 7989], r'the counts \[10, 7989\], expected run le'),
        ([80, 100], [10, 7991], 'expected run lengths from 0 whose sum is'),
        *(
            ([80, 100], counts, 'expected run lengths')
            for counts in (
                *([8010, -10], [10, True, 7989]),
                [2**62, 2**62, 2**63 + 8000],
                *(':d0Ri', ':d0Ri71', '', 'ü', 'o' * 99),
            )
        ),
    ],
)
def test_wrong_run_lengths(read, content, size, counts, message):
    segmentation = dict(size=size, counts=counts)
    with pytest.raises(InputError, match='annotation 8: segm.*' + message):
        read_second(read, content, segmentation)
    for key in segmentation:
        other = {k: v for k, v in EMPTY.items() if k != key}
        with pytest.raises(InputError, match=f'the {key} nothing, expected'):
            read_second(read, content, other)


def test_sums_of_what_the_library_writes():
    rng = np.random.default_rng(0)
    texts, areas = [], []
    for _ in range(200):
        shape = rng.integers(1, 90, 2)
        mask = rng.random(shape) < rng.choice([0, 0.01, 0.5, 0.99, 1])
        texts.append(coco_mask.encode(np.asfortranarray(mask.astype('u1'))))
        areas.append(mask.size)
    texts = [t['counts'].decode() for t in texts]
    assert sum_texts(texts).tolist() == areas
    # Wrong ones among them change no other.
    mixed = ['~~', *texts, '', 'o', 'ü', '\n', 'n' * 40]
    assert sum_texts(mixed).tolist() == [-1, *areas, *[-1] * 5]
    assert sum_texts([]).tolist() == []


def test_sums_by_hand():
    # 5, 7 and 3, then 7 + 2 and 3 - 1: two before each.
    assert sum_texts(['5732O']).tolist() == [5 + 7 + 3 + 9 + 2]
    # 3 + 2 * 32 = 67 in two groups; a run below 0.
    assert sum_texts(['S2', '5O', '0N']).tolist() == [67, -1, -1]
    # A group that announces another at the end, and more than ten of them.
    texts = ['5P', 'P' * 9 + '0', 'P' * 10 + '0']
    assert sum_texts(texts).tolist() == [-1, 0, -1]


def test_is_empty():
    assert is_empty(EMPTY) and is_empty([])
    assert not is_empty([TRIANGLE])
    assert not is_empty(dict(size=[80, 100], counts=[0, 8000]))
    assert not is_empty(dict(size=[80, 100], counts='1'))


def test_polygons_far_from_their_image(read, content):
    # The image has 100 x 80 px, so that 100 px outside are the limit.
    edge = [[-100, -100, 200, -100, 200, 180]]
    assert read_second(read, content, edge) == edge
    for far in ([-101, 0, 9, 0, 9, 9], [0, -101, 9, 0, 9, 9],
                [0, 0, 201, 0, 9, 9], [0, 0, 9, 0, 9, 181]):  # fmt: skip
        message = 'annotation 8: segmentation .*leave their image by'
        with pytest.raises(InputError, match=message):
            read_second(read, content, [TRIANGLE, far])


def test_outlines_that_are_too_long(read, content):
    # 100 px to the right and back, 5,000 times, and then 0 px to the start.
    zigzag = [0, 0, 100, 0] * 5000
    assert read_second(read, content, [zigzag]) == [zigzag]
    message = (
        'annotation 8: segmentation with an outline of 1000140 px, expected '
        'at most 1000000 px'
    )
    # The triangle: 30 + 40 + (30 + 40) px.
    with pytest.raises(InputError, match=message):
        read_second(read, content, [zigzag, TRIANGLE])
