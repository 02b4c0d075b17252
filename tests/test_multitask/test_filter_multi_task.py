import numpy as np
import pytest
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from mmpose_ext.multitask import FilterMultiTask

BOXES = [
    (0, 0, 5, 5),
    (0, 0, 0.9, 5),
    (1, 1, 2, 2),
    (0, 3, 5, 3),
    (2, 0, 4, 1.5),
    (4, 4, 3, 3),
]


@pytest.mark.parametrize('masks', [BitmapMasks, PolygonMasks])
@pytest.mark.parametrize(
    ('min_size', 'kept'), [(1.0, [0, 2, 4]), (1.2, [0, 4]), (9, [])]
)
def test_filter_drops_the_same_persons_everywhere(
    make_persons, masks, min_size, kept
):
    results = make_persons(BOXES, masks)
    after = FilterMultiTask(min_size)(results)
    assert after['gt_bboxes'].tensor.tolist() == [list(BOXES[i]) for i in kept]
    assert after['gt_bboxes_labels'].tolist() == kept
    assert after['gt_ignore_flags'].tolist() == [i % 2 == 1 for i in kept]
    assert after['gt_keypoints'][:, 0, 0].tolist() == kept
    assert len(after['gt_masks']) == len(kept)
    expected = make_persons(BOXES, masks)['gt_masks'][np.array(kept, int)]
    assert np.array_equal(
        after['gt_masks'].to_ndarray(), expected.to_ndarray()
    )


def test_filter_of_nobody_and_of_arrays(make_persons):
    results = FilterMultiTask()(make_persons([]))
    assert len(results['gt_bboxes']) == len(results['gt_masks']) == 0
    results = make_persons(BOXES)
    results['gt_bboxes'] = results['gt_bboxes'].numpy()
    del results['gt_masks'], results['gt_keypoints']
    after = FilterMultiTask()(results)
    assert isinstance(after['gt_bboxes'], np.ndarray)
    assert after['gt_bboxes_labels'].tolist() == [0, 2, 4]


@pytest.mark.parametrize('min_size', [0, -1, float('nan')])
def test_filter_wants_a_positive_size(min_size):
    with pytest.raises(ValueError, match=f'min_size .* {min_size}'):
        FilterMultiTask(min_size)


@pytest.mark.parametrize(
    'key', ['gt_bboxes', 'gt_bboxes_labels', 'gt_masks', 'gt_keypoints']
)
def test_other_numbers_of_persons_raise(make_persons, key):
    results = make_persons(BOXES)
    results[key] = results[key][np.array([0, 2])]
    with pytest.raises(ValueError, match=f'2 {key}'):
        FilterMultiTask()(results)


def test_repr():
    assert repr(FilterMultiTask(2)) == 'FilterMultiTask(min_size=2)'
