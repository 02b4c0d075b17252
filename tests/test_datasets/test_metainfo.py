import pytest
from mmpose.datasets import CocoDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from mmpose_ext.datasets.metainfo import make_category, make_metainfo

KEYPOINTS = ('nose', 'left_knee', 'right_knee', 'right_upper_arm', 'tail',
             'left_upper_arm')  # fmt: skip
LINKS = [
    ('nose', 'right_knee'), ('nose', 'left_knee'), ('nose', 'tail'),
    ('left_knee', 'right_knee'),
]  # fmt: skip


def test_all_follows_from_the_names():
    meta = make_metainfo('pets', KEYPOINTS, LINKS, author='A', year='2000')
    assert list(meta) == [
        *('dataset_name', 'paper_info', 'keypoint_info', 'skeleton_info'),
        *('joint_weights', 'sigmas'),
    ]
    assert meta['dataset_name'] == 'pets'
    assert meta['paper_info'] == dict(author='A', year='2000')
    infos = meta['keypoint_info']
    assert [infos[i]['id'] for i in range(6)] == list(range(6))
    assert tuple(info['name'] for info in infos.values()) == KEYPOINTS
    assert [info['swap'] for info in infos.values()] == [
        *('', 'right_knee', 'left_knee', 'left_upper_arm', ''),
        'right_upper_arm',
    ]
    assert [info['type'] for info in infos.values()] == [
        *('upper', 'lower', 'lower', 'upper', 'upper', 'upper')
    ]
    right, left, middle = [255, 128, 0], [0, 255, 0], [51, 153, 255]
    assert [info['color'] for info in infos.values()] == [
        *(middle, left, right, right, middle, left)
    ]
    assert meta['skeleton_info'] == {
        i: dict(link=link, id=i, color=colour)
        for i, (link, colour) in enumerate(
            zip(LINKS, (right, left, middle, right))
        )
    }
    assert meta['joint_weights'] == [1, 1.2, 1.2, 1, 1, 1]
    assert meta['sigmas'] == [0.026, 0.087, 0.087, 0.026, 0.026, 0.026]


def test_numbers_are_those_of_coco():
    """As MMPose has them, for all parts of a body that COCO has."""
    coco = CocoDataset(lazy_init=True).metainfo
    names = [coco['keypoint_id2name'][i] for i in range(5, 17)]
    ours = parse_pose_metainfo(make_metainfo('limbs', names, []))
    assert ours['sigmas'] == pytest.approx(coco['sigmas'][5:])
    assert ours['dataset_keypoint_weights'] == pytest.approx(
        coco['dataset_keypoint_weights'][5:]
    )
    for key in ('upper_body_ids', 'lower_body_ids', 'flip_indices'):
        assert ours[key] == [i - 5 for i in coco[key] if i >= 5], key


def test_indices_of_a_category_start_at_1():
    assert make_category(KEYPOINTS, LINKS) == dict(
        id=1,
        name='person',
        supercategory='person',
        keypoints=list(KEYPOINTS),
        skeleton=[[1, 3], [1, 2], [1, 5], [2, 3]],
    )
