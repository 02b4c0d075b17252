import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.datasets.transforms import RandomFlip, Resize

from mmpose_ext.multitask import (
    CocoPersonDataset,
    LoadMultiTaskAnnotations,
    PackMultiTaskInputs,
    WarpKeypoints,
)

SWAP = [0, 2, 1]
SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


def instance(keypoints, mask=SQUARE, ignore_flag=0):
    return dict(
        bbox=[10, 10, 20, 20],
        bbox_label=0,
        ignore_flag=ignore_flag,
        mask=mask,
        keypoints=keypoints,
    )


def load(instances, flip_indices=SWAP, **kwargs):
    transform = LoadMultiTaskAnnotations(**kwargs)
    return transform(
        dict(
            instances=instances,
            flip_indices=flip_indices,
            ori_shape=(60, 80),
            img_shape=(60, 80),
        )
    )


def test_loading_adds_half_a_pixel():
    joints = [[0, 0, 0], [79, 59, 1], [3.25, 7, 2]]
    results = load([instance(joints), instance([[0, 0, 0]] * 3)])
    keypoints = results['gt_keypoints']
    assert keypoints.shape == (2, 3, 3) and keypoints.dtype == np.float32
    expected = [[0.5, 0.5, 0], [79.5, 59.5, 1], [3.75, 7.5, 2]]
    assert keypoints[0].tolist() == expected
    assert joints[1] == [79, 59, 1]
    assert results['gt_bboxes'].tensor.tolist() == [[10, 10, 20, 20]] * 2
    assert (results['keypoints_homography'] == np.eye(3)).all()


@pytest.mark.parametrize(
    'flip_indices', [SWAP, CocoPersonDataset.METAINFO['flip_indices']]
)
def test_loading_nobody(flip_indices):
    results = load([], flip_indices, with_mask=True)
    assert results['gt_keypoints'].shape == (0, len(flip_indices), 3)
    assert results['gt_keypoints'].dtype == np.float32
    assert len(results['gt_masks']) == len(results['gt_bboxes']) == 0


def test_loading_an_empty_mask_keeps_the_person():
    empty = dict(size=[60, 80], counts=[4800])
    joints = [[1, 2, 2]] * 3
    results = load(
        [instance(joints), instance(joints, mask=empty)], with_mask=True
    )
    assert results['gt_masks'].areas.tolist() == [100, 0]
    assert not results['gt_ignore_flags'].any()


def test_loading_without_keypoints():
    assert 'gt_keypoints' not in load([], with_keypoints=False)
    other = instance([[1, 2, 2]] * 3)
    del other['keypoints']
    with pytest.raises(ValueError, match='CocoPersonDataset'):
        load([other])
    with pytest.raises(ValueError, match='CocoPersonDataset'):
        LoadMultiTaskAnnotations()(dict(instances=[], ori_shape=(60, 80)))
    assert len(load([other], with_keypoints=False)['gt_bboxes']) == 1


@pytest.mark.parametrize('scale', [0.5, 1.0, 1.7, 3.0])
@pytest.mark.parametrize('mirror', [False, True])
def test_a_drawn_dot_lands_on_its_joint(scale, mirror):
    """The centre of a blob, in the image, is where the keypoint is."""
    pixel = np.array([[31, 22], [50, 40], [12, 45]])  # x, y as COCO has them
    joints = np.dstack([pixel[None], np.full((1, 3, 1), 2)]).tolist()
    results = load([instance(joints[0])])
    results['img'] = np.zeros((60, 80, 3), np.uint8)
    for channel, (x, y) in enumerate(pixel):
        results['img'][y - 1 : y + 2, x - 1 : x + 2, channel] = 250
    steps = [Resize(scale_factor=scale), WarpKeypoints()]
    if mirror:
        steps.insert(1, RandomFlip(prob=1.0))
    results = Compose(steps)(results)
    weight = results['img'].astype(float)
    rows, columns = np.indices(weight.shape[:2]) + 0.5
    total = weight.sum((0, 1))
    found = np.stack(
        [
            (weight * columns[..., None]).sum((0, 1)) / total,
            (weight * rows[..., None]).sum((0, 1)) / total,
        ],
        -1,
    )
    # The channel of the image does not know of left and right.
    found = found[SWAP] if mirror else found
    assert np.allclose(results['gt_keypoints'][0, :, :2], found, atol=0.1)


def test_loaded_behind_a_resize_as_in_mmdets_test_pipelines():
    results = dict(
        img=np.zeros((60, 80, 3), np.uint8),
        ori_shape=(60, 80),
        instances=[instance([[30, 20, 2]] * 3)],
        flip_indices=SWAP,
    )
    steps = [
        Resize(scale_factor=2.0),
        LoadMultiTaskAnnotations(),
        PackMultiTaskInputs(),
    ]
    instances = Compose(steps)(results)['data_samples'].gt_instances
    assert instances.keypoints[0, 0].tolist() == [30.5, 20.5]
    assert instances.bboxes.tensor.tolist() == [[10, 10, 20, 20]]


def test_repr():
    assert 'with_keypoints=True)' in repr(LoadMultiTaskAnnotations())
    assert 'with_mask=True' in repr(LoadMultiTaskAnnotations(with_mask=True))
