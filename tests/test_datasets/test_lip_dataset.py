import csv
import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS
from PIL import Image

from mmpose_ext.checks import check_config
from mmpose_ext.datasets import LIPDataset, lip_dataset
from mmpose_ext.datasets.lip_dataset import read_lip
from mmpose_ext.errors import InputError

NAN = ['nan'] * 3


def row(name, joints):
    """Cells of a row: x, y, occluded by joint, the others unlabelled."""
    cells = [joints.get(i, NAN) for i in range(16)]
    return [name, *(str(v) for cell in cells for v in cell)]


ROWS = [
    row('a.png', {0: (3, 4, 0), 9: (5.5, 6, 1), 15: (39, 19, 0)}),
    row('b.png', {}),
    row('c.png', {i: (i, 2 * i, i % 2) for i in range(16)}),
]
SIZES = dict(a=(40, 20), b=(16, 32), c=(30, 50))


@pytest.fixture
def folder(tmp_path):
    """Three images of 40x20, 16x32 and 30x50 px."""
    (tmp_path / 'img').mkdir()
    for name, size in SIZES.items():
        Image.new('RGB', size).save(tmp_path / 'img' / f'{name}.png')
    return tmp_path


def write(folder, rows):
    path = folder / 'lip.csv'
    with open(path, 'w', newline='') as f:
        csv.writer(f).writerows(rows)
    return str(path)


def make(folder, rows=ROWS, **kwargs):
    write(folder, rows)
    return LIPDataset(
        ann_file='lip.csv',
        data_root=str(folder),
        data_prefix=dict(img='img/'),
        **kwargs,
    )


def test_metainfo():
    meta = LIPDataset(lazy_init=True).metainfo
    assert meta['dataset_name'] == 'lip' and meta['num_keypoints'] == 16
    names = [meta['keypoint_id2name'][i] for i in range(16)]
    order = (
        'r_ankle r_knee r_hip l_hip l_knee l_ankle pelvis thorax upper_neck '
        'head_top r_wrist r_elbow r_shoulder l_shoulder l_elbow l_wrist'
    )
    sides = dict(r='right_', l='left_')
    for name, short in zip(names, order.split()):
        side, _, part = short.partition('_')
        assert name == (sides[side] + part if side in sides else short)
    pairs = {frozenset(pair) for pair in meta['flip_pairs']}
    assert pairs == {
        frozenset(pair)
        for pair in [(0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)]
    }
    flip = meta['flip_indices']
    assert [flip[flip[i]] for i in range(16)] == list(range(16))
    assert [i for i in range(16) if flip[i] == i] == [6, 7, 8, 9]
    assert sorted(meta['lower_body_ids']) == list(range(7))
    assert sorted(meta['upper_body_ids']) == list(range(7, 16))


def test_numbers_of_the_metainfo():
    meta = LIPDataset(lazy_init=True).metainfo
    ankle, knee, hip, middle = 0.089, 0.087, 0.107, 0.026
    wrist, elbow, shoulder = 0.062, 0.072, 0.079
    assert meta['sigmas'] == pytest.approx(
        [
            *(ankle, knee, hip, hip, knee, ankle, *[middle] * 4),
            *(wrist, elbow, shoulder, shoulder, elbow, wrist),
        ]
    )
    assert meta['dataset_keypoint_weights'] == pytest.approx(
        [1.5, 1.2, 1, 1, 1.2, 1.5, *[1] * 4, 1.5, 1.2, 1, 1, 1.2, 1.5]
    )
    right, left, middle = (255, 128, 0), (0, 255, 0), (51, 153, 255)
    assert meta['keypoint_colors'].tolist() == list(map(list, (
        *[right] * 3, *[left] * 3, *[middle] * 4, *[right] * 3, *[left] * 3,
    )))  # fmt: skip
    # Links of a side are of its colour, also those to the middle.
    assert meta['skeleton_link_colors'].tolist() == list(map(list, (
        *[right] * 3, *[left] * 3, *[middle] * 3, *[right] * 3, *[left] * 3,
    )))  # fmt: skip
    links = [[0, 1], [1, 2], [2, 6], [6, 3], [3, 4], [4, 5], [6, 7], [7, 8]]
    links += [[8, 9], [10, 11], [11, 12], [12, 7], [7, 13], [13, 14], [14, 15]]
    assert [list(link) for link in meta['skeleton_links']] == links
    # As COCO has them, from 1.
    category = lip_dataset.LIP_CATEGORY
    assert category == dict(
        id=1,
        name='person',
        supercategory='person',
        keypoints=list(lip_dataset.LIP_KEYPOINTS),
        skeleton=[[a + 1, b + 1] for a, b in links],
    )


def test_what_an_annotation_holds(folder):
    first, second, _ = read_lip(write(folder, ROWS), str(folder / 'img'))
    keypoints = [3, 4, 2, *[0] * 24, 5.5, 6, 1, *[0] * 15, 39, 19, 2]
    assert first == dict(
        id=1,
        image_id=1,
        category_id=1,
        bbox=[0, 0, 40, 20],
        area=pytest.approx(424),  # 0.53 of 800
        iscrowd=0,
        num_keypoints=3,
        keypoints=keypoints,
        image=dict(id=1, file_name='a.png', width=40, height=20),
    )
    assert json.loads(json.dumps(first)) == first
    assert second['keypoints'] == [0] * 48 and second['id'] == 2
    assert second['image'] == dict(
        id=2, file_name='b.png', width=16, height=32
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), interval=st.integers(1, 4))
def test_a_sample_has_what_its_row_says(tmp_path_factory, seed, interval):
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp('lip')
    number = int(rng.integers(interval, 7))
    joints = rng.uniform(-5, 60, (number, 16, 3)).round(2)
    joints[..., 2] = rng.integers(0, 2, (number, 16))
    joints[rng.random((number, 16)) < 0.4] = np.nan
    sizes = rng.integers(1, 60, (number, 2))
    for i, size in enumerate(sizes.tolist()):
        Image.new('L', size).save(folder / f'{i}.png')
    rows = [[f'{i}.png', *joints[i].ravel()] for i in range(number)]
    data = LIPDataset(
        write(folder, rows),
        data_prefix=dict(img=str(folder)),
        sample_interval=interval,
        test_mode=True,
    )
    assert len(data) == number // interval
    for k, sample in enumerate(data):
        i = (k + 1) * interval - 1
        known = ~np.isnan(joints[i, :, 0])
        assert sample['id'] == i + 1
        assert sample['bbox'].tolist() == [[0, 0, *sizes[i]]]
        assert sample['keypoints_visible'][0].tolist() == known.tolist()
        np.testing.assert_allclose(
            sample['keypoints'][0],
            np.where(known[:, None], joints[i, :, :2], -1),
            rtol=1e-6,
        )
        assert sample['num_keypoints'] == known.sum()


def test_what_a_sample_holds(folder):
    first, last = make(folder)
    assert first['img_path'] == str(folder / 'img' / 'a.png')
    assert (first['id'], first['img_id']) == (1, 1)
    assert (last['id'], last['img_id']) == (3, 3)
    assert first['bbox'].dtype == np.float32
    assert first['keypoints'].shape == (1, 16, 2)
    assert first['keypoints_visible'][0, 9] == 1  # occluded
    # A labelled joint at (0, 0) is one.
    assert last['keypoints'][0, 0].tolist() == [0, 0]
    assert last['keypoints_visible'].all()


def test_images_without_joints(folder, monkeypatch):
    messages = []
    monkeypatch.setattr(
        lip_dataset, 'print_log', lambda text, **_: messages.append(text)
    )
    assert [s['id'] for s in make(folder)] == [1, 3]
    assert len(messages) == 1 and messages[0].startswith('1 of 3 images in ')
    test = make(folder, test_mode=True)
    assert [s['id'] for s in test] == [1, 2, 3] and len(messages) == 1
    assert (test[1]['keypoints'] == -1).all()
    assert not test[1]['keypoints_visible'].any()
    assert test[1]['bbox'].tolist() == [[0, 0, 16, 32]]
    assert len(make(folder, [ROWS[0], ROWS[2]])) == 2 and len(messages) == 1


def test_parts_of_the_dataset(folder):
    assert [s['id'] for s in make(folder, indices=1)] == [1]
    assert [s['id'] for s in make(folder, indices=[1])] == [3]
    everything = dict(test_mode=True)
    assert len(make(folder, sample_interval=2, **everything)) == 1
    assert make(folder, sample_interval=3, **everything)[0]['id'] == 3
    for threshold, left in ((0.5, 3), (1.5, 0)):
        filter_cfg = dict(bbox_score_thr=threshold)
        kwargs = dict(everything, serialize_data=False, filter_cfg=filter_cfg)
        assert len(make(folder, **kwargs)) == left
    plain = make(folder, serialize_data=False, lazy_init=True)
    assert not plain.data_list
    assert len(plain) == 2
    names = make(folder, [['a.png'], ['b.png']], **everything)
    assert len(names) == 2 and (names[0]['keypoints'] == -1).all()
    bottom_up = make(folder, data_mode='bottomup', **everything)
    assert [s['img_id'] for s in bottom_up] == [1, 2, 3]
    assert bottom_up[0]['keypoints'].shape == (1, 16, 2)


def test_csv_from_elsewhere(folder):
    """Byte order mark, Windows' line ends, empty lines, other spellings."""
    text = '\r\n'.join(','.join(r).replace('nan', 'NaN') for r in ROWS)
    path = folder / 'other.csv'
    path.write_bytes(b'\xef\xbb\xbf' + text.encode() + b'\r\n\r\n')
    ours = read_lip(write(folder, ROWS), str(folder / 'img'))
    assert read_lip(path, folder / 'img') == ours


def test_half_a_joint_is_unlabelled(folder):
    rows = [row('a.png', {0: (3, 'nan', 0), 1: (5, 6, 'nan')})]
    (annotation,) = read_lip(write(folder, rows), str(folder / 'img'))
    assert annotation['keypoints'][:6] == [0, 0, 0, 5, 6, 2]
    assert annotation['num_keypoints'] == 1


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ([], "annotation file '.*lip.csv' is empty"),
        ([[], []], 'has no rows'),
        ([ROWS[0], [], ROWS[1][:-1]], 'line 3: 48 columns, expected 49'),
        ([ROWS[0], [*ROWS[1], '0']], 'line 2: 50 columns'),
        (
            [ROWS[0], row('b.png', {0: (3, 'x7', 0)})],
            "line 2, column 3: 'x7', expected a number of px or 'nan'",
        ),
        ([ROWS[0], row(' ', {})], "line 2, column 1: '', expected the file"),
        ([row('a.png', {15: (1, 1, '')})], "line 1, column 49: ''"),
        ([row('a.png', {0: ('-inf', 1, 0)})], "line 1, column 2: '-inf'"),
        (
            [row('a.png', {0: (1, 4e38, 0)})],
            r"line 1, column 3: '4e\+38', expected a number of px or 'nan'",
        ),
        (
            [ROWS[0], row('b.png', {1: (1, 1, 2)})],
            "line 2, column 7: '2', expected 0, 1 or 'nan'",
        ),
        ([row('a.png', {1: (1, 1, 0.5)})], "line 1, column 7: '0.5'"),
        ([row('a.png', {1: (1, 1, -1)})], "line 1, column 7: '-1'"),
        pytest.param(
            [['a\0.png']],
            r"image '.*' cannot be read: .*null",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 11), reason='csv needs Python 3.11'
            ),
        ),
        (
            [ROWS[0], row('no.png', {}), ROWS[2], ['nor.png']],
            r"image '.*no\.png' does not exist \(2 of 4 images are missing\)",
        ),
        ([ROWS[1]], 'none of 1 images has a labelled joint'),
        ([['../lip.csv']], r"image '.*lip\.csv' cannot be read"),
    ],
)
def test_wrong_csv(folder, rows, message):
    with pytest.raises(InputError, match=message):
        make(folder, rows)


def test_wrong_arguments(folder):
    path = write(folder, ROWS)
    with pytest.raises(ValueError, match=r'^interval must .* got 0'):
        read_lip(path, str(folder / 'img'), 0)
    with pytest.raises(ValueError, match=r'^sample_interval must .* got 1\.0'):
        make(folder, sample_interval=1.0)
    for wrong in (None, 0, ['img']):
        with pytest.raises(ValueError, match=r'^ann_file must .* got '):
            read_lip(wrong, str(folder / 'img'))
        with pytest.raises(ValueError, match=r'^img_dir must .* got '):
            read_lip(path, wrong)


def test_wrong_files(folder):
    images = str(folder / 'img')
    with pytest.raises(InputError, match=r"'no\.csv' does not exist"):
        read_lip('no.csv', images)
    with pytest.raises(InputError, match="image folder 'no/such' does not"):
        read_lip(write(folder, ROWS), 'no/such')
    with pytest.raises(InputError, match=r'a\.png.* is not a CSV text'):
        read_lip(str(folder / 'img' / 'a.png'), images)
    with pytest.raises(InputError, match=r"no bbox_file, got 'b\.json'"):
        make(folder, bbox_file='b.json', test_mode=True)


# ------------------------------------------------------------ in MMPose


def lip_part(split, **kwargs):
    return dict(
        type='LIPDataset',
        ann_file=f'lip/TrainVal_pose_annotations/lip_{split}_set.csv',
        data_prefix=dict(img=f'lip/TrainVal_images/{split}_images/'),
        **kwargs,
    )


CODEC = dict(type='BackgroundHeatmap', input_size=(64, 64),
             heatmap_size=(8, 8))  # fmt: skip
LOAD = [dict(type='LoadImage'), dict(type='GetBBoxCenterScale', padding=1.0)]
CROP = dict(type='TopdownAffine', input_size=(64, 64))


def test_topdown_pipelines_of_mmpose(toy_persons):
    init_default_scope('mmpose')
    np.random.seed(0)
    training = [
        *LOAD,
        dict(type='RandomFlip', prob=1.0),
        dict(type='RandomBBoxTransform'),
        CROP,
        dict(type='GenerateTarget', encoder=CODEC),
        dict(type='PackPoseInputs'),
    ]
    train = DATASETS.build(
        lip_part('train', data_root=str(toy_persons), pipeline=training)
    )
    batch = pseudo_collate([train[i] for i in range(3)])
    for image, sample in zip(batch['inputs'], batch['data_samples']):
        assert image.shape == (3, 64, 64)
        assert sample.gt_fields.heatmaps.shape == (17, 8, 8)
        assert sample.dataset_name == 'lip' and sample.category_id == 1
        weights = sample.gt_instance_labels.keypoint_weights.numpy()
        visible = sample.gt_instances.keypoints_visible
        assert weights.any() and (weights <= visible).all()

    # Without augmentation, coordinates are those of the image fit into the
    # middle of the input.
    val = DATASETS.build(
        lip_part(
            'val',
            data_root=str(toy_persons),
            test_mode=True,
            pipeline=[*LOAD, CROP],
        )
    )
    for sample in val:
        height, width = sample['ori_shape']
        scale = 64 / max(height, width)
        known = sample['keypoints_visible'] > 0
        expected = (sample['keypoints'] - [width / 2, height / 2]) * scale
        np.testing.assert_allclose(
            sample['transformed_keypoints'][known],
            expected[known] + 32,
            atol=1e-3,
        )


def test_toy_data_are_read_as_they_are_written(toy_persons):
    data = DATASETS.build(
        dict(lip_part('train', data_root=str(toy_persons)), _scope_='mmpose')
    )
    path = toy_persons / 'lip/TrainVal_pose_annotations/lip_train_set.csv'
    with open(path) as f:
        rows = list(csv.reader(f))
    assert len(data) == len(rows) > 5
    for sample, cells in zip(data, rows):
        joints = np.array(cells[1:], dtype=float).reshape(16, 3)
        known = ~np.isnan(joints[:, 0])
        visible = sample['keypoints_visible'][0] > 0
        assert visible.tolist() == known.tolist()
        np.testing.assert_array_equal(
            sample['keypoints'][0, known], joints[known, :2]
        )
        with Image.open(sample['img_path']) as image:
            assert sample['bbox'][0].tolist() == [0, 0, *image.size]


def test_check_before_a_run(toy_persons):
    cfg = Config(
        dict(
            default_scope='mmpose',
            model=dict(type='TopdownPoseEstimator'),
            test_dataloader=dict(
                dataset=lip_part('val', data_root=str(toy_persons))
            ),
            test_evaluator=dict(type='LIPPCKh'),
        )
    )
    assert check_config(cfg, 'test') == []
    cfg.test_dataloader.dataset.ann_file = 'lip/no.csv'
    with pytest.raises(InputError, match=r"'.*lip/no\.csv' does not exist"):
        check_config(cfg, 'test')
