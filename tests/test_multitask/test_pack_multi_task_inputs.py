from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet.datasets.transforms import RandomCrop, RandomFlip, Resize

from mmpose_ext.multitask import (
    CocoPersonDataset,
    PackMultiTaskInputs,
    WarpKeypoints,
)

COCO_MINI = Path(__file__).parents[3] / 'shared/data/coco_mini'
BOXES = [(0, 0, 5, 5), (0, 0, 3, 5), (1, 1, 2, 2)]


def test_packing_splits_off_the_crowds(make_persons):
    sample = PackMultiTaskInputs()(make_persons(BOXES[:3]))['data_samples']
    for instances, numbers in [
        (sample.gt_instances, [0, 2]),
        (sample.ignored_instances, [1]),
    ]:
        n = len(numbers)
        assert instances.labels.tolist() == numbers
        assert len(instances.masks) == len(instances.bboxes) == n
        assert instances.keypoints.shape == (n, 3, 2)
        assert instances.keypoints[:, 0, 0].tolist() == numbers
        assert instances.keypoints_visible.shape == (n, 3)
        assert instances.keypoints.dtype == torch.float32
        assert instances.keypoints_visible.dtype == torch.float32


def test_packing_flags_and_nobody(make_persons):
    results = make_persons(BOXES[:1])
    results['gt_keypoints'][0, :, 2] = [0, 1, 2]
    sample = PackMultiTaskInputs()(results)['data_samples']
    assert sample.gt_instances.keypoints_visible.tolist() == [[0, 1, 2]]
    assert sample.ignored_instances.keypoints.shape == (0, 3, 2)

    packed = PackMultiTaskInputs()(make_persons([]))
    instances = packed['data_samples'].gt_instances
    assert instances.keypoints.shape == (0, 3, 2)
    assert instances.keypoints_visible.shape == (0, 3)
    assert packed['inputs'].shape == (3, 6, 8)


def test_packing_without_keypoints_is_mmdets(make_persons):
    results = make_persons(BOXES)
    del results['gt_keypoints']
    sample = PackMultiTaskInputs(meta_keys=('img_shape',))(results)
    instances = sample['data_samples'].gt_instances
    assert sorted(instances.keys()) == ['bboxes', 'labels', 'masks']
    assert sample['data_samples'].metainfo == dict(img_shape=(6, 8))


def test_persons_lost_in_a_crop_raise(make_persons):
    results = make_persons([(0, 0, 2, 2), (6, 4, 8, 6)])
    crop = RandomCrop((3, 3))
    crop._rand_offset = lambda margin: (0, 0)
    results = crop(results)
    assert len(results['gt_bboxes']) == 1
    with pytest.raises(ValueError, match=r'1 gt_bboxes.* 2 gt_keypoints'):
        PackMultiTaskInputs()(results)


def test_stale_keypoints_raise(make_persons):
    warp, pack = WarpKeypoints(), PackMultiTaskInputs()
    resize = Resize(scale_factor=2.0)
    flip = RandomFlip(prob=1.0, direction='vertical')

    def run(*steps):
        results = make_persons(BOXES)
        results['flip_indices'] = [0, 2, 1]
        return Compose(steps)(results)

    for steps in ([resize, pack], [resize, warp, flip, pack]):
        with pytest.raises(ValueError, match='WarpKeypoints'):
            run(*steps)
    run(resize, flip, warp, pack)


PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadMultiTaskAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(200, 150), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='WarpKeypoints'),
    dict(type='FilterMultiTask'),
    dict(type='PackMultiTaskInputs'),
]


def check_agreement(dataset):
    """Boxes, masks and visible joints of the packed persons fit together.

    Returns how many persons and joints there were.
    """
    people = joints = inside = overlap = 0
    flips = set()
    for i in range(len(dataset)):
        packed = dataset[i]
        sample = packed['data_samples']
        flips.add(sample.flip)
        height, width = sample.img_shape
        assert packed['inputs'].shape == (3, height, width)
        both = (sample.gt_instances, sample.ignored_instances)
        count = len(dataset.get_data_info(i)['instances'])
        assert sum(map(len, both)) <= count
        assert not sample.ignored_instances.keypoints_visible.any()
        people += len(sample.gt_instances)
        for person in sample.gt_instances:
            x1, y1, x2, y2 = person.bboxes.tensor[0].tolist()
            visible = person.keypoints[0][person.keypoints_visible[0] == 2]
            visible = visible.numpy()
            assert (visible >= 0).all()
            assert (visible <= (width, height)).all()
            joints += len(visible)
            mask = person.masks.masks[0]
            x, y = np.minimum(visible, (width - 1, height - 1)).astype(int).T
            inside += mask[y, x].sum()
            rows, columns = np.nonzero(mask)
            if len(rows):
                box = [
                    columns.min(),
                    rows.min(),
                    columns.max() + 1,
                    rows.max() + 1,
                ]
                overlap += np.allclose(box, [x1, y1, x2, y2], atol=2.5)
    assert flips == {False, True}
    assert inside > 0.8 * joints
    assert overlap > 0.9 * people
    return people, joints


def test_toy_persons_fit_together(toy_persons):
    np.random.seed(0)
    dataset = CocoPersonDataset(
        data_root=str(toy_persons),
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='train/'),
        pipeline=PIPELINE,
    )
    people, joints = check_agreement(dataset)
    assert people > 12 and joints > 100


@pytest.mark.skipif(not COCO_MINI.is_dir(), reason='no COCO images')
def test_coco_persons_fit_together():
    np.random.seed(0)
    dataset = CocoPersonDataset(
        data_root=str(COCO_MINI),
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(min_keypoints=1),
        pipeline=PIPELINE,
    )
    people, joints = check_agreement(dataset)
    assert people > 80 and joints > 500
