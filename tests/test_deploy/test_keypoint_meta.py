"""What descriptions may say of keypoints."""

import numpy as np
import pytest
from exported_description import GOOD
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from mmpose_ext.deploy.keypoint_meta import check_keypoint_meta

GOOD = GOOD['dataset_meta']


@pytest.mark.parametrize(
    'name', ['coco', 'coco_wholebody', '300w', 'coco_aic', 'h36m', 'wflw']
)
def test_keypoints_of_datasets(name):
    meta = parse_pose_metainfo(
        dict(from_file=f'configs/_base_/datasets/{name}.py')
    )
    meta.pop('stats_info', None)
    check_keypoint_meta(meta)


REFUSED = {
    'another image': ('img', [[0]], "dataset_meta has 'img'"),
    'path of an image': (
        'img_path',
        '/etc/passwd',
        "dataset_meta has 'img_path'",
    ),
    'no keypoints': ('num_keypoints', 0, 'num_keypoints is'),
    'too many keypoints': ('num_keypoints', 10**8, 'num_keypoints is wrong'),
    'true keypoints': ('num_keypoints', True, 'num_keypoints is'),
    'other names': (
        'keypoint_id2name',
        dict.fromkeys(range(2), 'a/b' * 99),
        'keypoint_id2name is wrong',
    ),
    'names of other ids': (
        'keypoint_name2id',
        dict(a=1),
        'keypoint_name2id is wrong',
    ),
    'flip to no keypoint': ('flip_indices', [2] * 2, 'flip_indices is wrong'),
    'flip of too few': ('flip_indices', [0], 'flip_indices is'),
    'links of three': (
        'skeleton_links',
        [(0, 1, 1)],
        'skeleton_links is wrong',
    ),
    'links that are text': ('skeleton_links', 'ab', 'links is wrong, exp'),
    'other number of links': ('num_skeleton_links', 2, 'wrong, expected 1'),
    'sigmas that are text': ('sigmas', ['a'] * 2, 'sigmas is wrong'),
    'negative sigmas': ('sigmas', [-1] * 2, 'sigmas is wrong'),
    'flip to one': ('flip_indices', [0, 0], 'each keypoint on'),
    'ids of other numbers': (
        'keypoint_id2name',
        {0: 'a', 2: 'b'},
        'id2name is',
    ),
    'sigmas without an axis': ('sigmas', np.array(0), 'sigmas is wrong, exp'),
    'links without an axis': ('skeleton_links', np.array(0), 'is wrong, exp'),
    'pairs without an axis': ('flip_pairs', np.array(0), 'flip_pairs is wr'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refused(name):
    key, value, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        check_keypoint_meta(dict(GOOD, **{key: value}))


@pytest.mark.parametrize('meta', [[1], dict(sigmas=[])])
def test_no_description_of_keypoints(meta):
    with pytest.raises(ValueError, match=f'got {type(meta).__name__}'):
        check_keypoint_meta(meta)
