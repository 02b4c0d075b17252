import json
import uuid
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmpose.registry import DATASETS
from PIL import Image
from scipy.io import savemat
from xtcocotools.coco import COCO

from mmpose_ext.checks import check_config
from mmpose_ext.datasets import LSPDataset, lsp_dataset
from mmpose_ext.datasets.lsp_dataset import (
    LSP_CATEGORY,
    LSP_KEYPOINTS,
    read_lsp,
)
from mmpose_ext.errors import InputError

# What LSP extended has for a joint without a label.
NOWHERE = (0, -12.5, 0)
SIZE = (200, 100)


def person(dx=0.0):
    """14 labelled joints, at (10, 50), (20, 50) ... (140, 50) and further."""
    joints = np.full((14, 3), (dx, 50.0, 1.0))
    joints[:, 0] += 10 * np.arange(1, 15)
    return joints


def save(path, joints, extended=True):
    """Joints (N, 14, 3), as one of the two files has them."""
    axes = (1, 2, 0) if extended else (2, 1, 0)
    savemat(path, dict(joints=np.transpose(joints, axes)))
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """Images 1 to 3 of both data sets, of 200x100 px."""
    for i in (1, 2, 3):
        for digits in (4, 5):
            path = tmp_path / f'im{i:0{digits}}.jpg'
            Image.new('L', SIZE).save(path)
    return tmp_path


def read(folder, joints, extended=True, **kwargs):
    path = save(folder / 'joints.mat', joints, extended)
    return read_lsp(path, str(folder), **kwargs)


def make(folder, joints, **kwargs):
    (folder / 'lsp.json').write_text(json.dumps(read(folder, joints)))
    return LSPDataset(
        ann_file='lsp.json',
        data_root=str(folder),
        data_prefix=dict(img=''),
        **kwargs,
    )


# ------------------------------------------------------- what it describes


def test_metainfo():
    meta = LSPDataset(lazy_init=True).metainfo
    assert meta['dataset_name'] == 'lsp' and meta['num_keypoints'] == 14
    names = [meta['keypoint_id2name'][i] for i in range(14)]
    # The order of the README.txt in the archive.
    order = (
        'Right ankle, Right knee, Right hip, Left hip, Left knee, Left ankle, '
        'Right wrist, Right elbow, Right shoulder, Left shoulder, Left elbow, '
        'Left wrist, Neck, Head top'
    )
    assert names == order.lower().replace(' ', '_').split(',_')
    assert tuple(names) == LSP_KEYPOINTS
    flip = [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13]
    assert meta['flip_indices'] == flip
    assert meta['lower_body_ids'] == list(range(6))
    assert meta['upper_body_ids'] == list(range(6, 14))
    ankle, knee, hip, middle = 0.089, 0.087, 0.107, 0.026
    wrist, elbow, shoulder = 0.062, 0.072, 0.079
    assert meta['sigmas'] == pytest.approx(
        [
            *(ankle, knee, hip, hip, knee, ankle),
            *(wrist, elbow, shoulder, shoulder, elbow, wrist, middle, middle),
        ]
    )
    links = [
        *([0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [6, 7], [7, 8], [8, 12]),
        *([12, 9], [9, 10], [10, 11], [2, 8], [3, 9], [12, 13]),
    ]
    assert [list(link) for link in meta['skeleton_links']] == links
    assert LSP_CATEGORY['skeleton'] == [[a + 1, b + 1] for a, b in links]
    assert LSP_CATEGORY['keypoints'] == names
    # Flipped, the skeleton is the same one.
    mirrored = {frozenset((flip[a], flip[b])) for a, b in links}
    assert mirrored == {frozenset(link) for link in links}


# ---------------------------------------------------------------- reading


def test_lsp_extended(folder):
    joints = np.stack([person(), person(5.25)])
    joints[0, [0, 6]] = NOWHERE
    content = read(folder, joints)
    assert content['images'] == [
        dict(id=1, file_name='im00001.jpg', width=200, height=100),
        dict(id=2, file_name='im00002.jpg', width=200, height=100),
    ]
    assert content['categories'] == [LSP_CATEGORY]
    first, second = content['annotations']
    keypoints = [
        v for i in range(14)
        for v in ((0, 0, 0) if i in (0, 6) else (10 * i + 10, 50, 2))
    ]  # fmt: skip
    # From 20 to 140 and a tenth of these 120 px around.
    assert first == dict(
        id=1,
        image_id=1,
        category_id=1,
        bbox=pytest.approx([8, 38, 144, 24]),
        area=pytest.approx(0.53 * 144 * 24),
        iscrowd=0,
        num_keypoints=12,
        keypoints=keypoints,
    )
    assert (second['id'], second['image_id']) == (2, 2)
    assert second['keypoints'][:3] == [15.25, 50, 2]
    assert second['bbox'] == pytest.approx([2.25, 37, 156, 26])
    assert json.loads(json.dumps(content)) == content


def test_lsp_itself(folder):
    """All joints are labelled, and 1 stands for an occluded one."""
    joints = np.stack([person()] * 2)
    joints[0, :, 2] = np.arange(14) % 2
    content = read(folder, joints, extended=False)
    names = [image['file_name'] for image in content['images']]
    assert names == ['im0001.jpg', 'im0002.jpg']
    first, second = content['annotations']
    assert first['keypoints'][2::3] == [2, 1] * 7
    assert second['keypoints'][2::3] == [1] * 14
    assert first['num_keypoints'] == second['num_keypoints'] == 14
    assert first['bbox'] == second['bbox'] == pytest.approx([0, 37, 153, 26])


@pytest.mark.parametrize('number', [1, 2, 3])
def test_the_first_axes_tell_which_file_it_is(folder, number):
    joints = np.stack([person(i) for i in range(number)])
    for extended, name in ((True, 'im00001.jpg'), (False, 'im0001.jpg')):
        content = read(folder, joints, extended)
        assert len(content['images']) == number
        assert content['images'][0]['file_name'] == name
        last = np.reshape(content['annotations'][-1]['keypoints'], (14, 3))
        assert (last[:, :2] == joints[-1, :, :2]).all()


@pytest.mark.parametrize('kind', ['uint8', 'int16', 'float32', 'float64'])
def test_any_type_of_number(folder, kind):
    for extended, flags in ((True, [2] * 14), (False, [1] * 14)):
        content = read(folder, person()[None].astype(kind), extended)
        (annotation,) = content['annotations']
        assert annotation['keypoints'][2::3] == flags
        assert annotation['keypoints'][::3] == list(range(10, 150, 10))


def test_joints_outside_of_the_image_are_not_labelled(folder, monkeypatch):
    messages = []
    monkeypatch.setattr(
        lsp_dataset, 'print_log', lambda text, **_: messages.append(text)
    )
    joints = np.stack([person()] * 3)
    joints[0, 0, 0], joints[0, 1, 1] = -0.01, -3
    joints[0, 2, 0], joints[0, 3, 1] = 200, 100
    joints[0, 4, :2], joints[0, 5, :2] = (0, 0), (199.9, 99.9)
    joints[1] = NOWHERE
    joints[2, :, 0] += 500
    first, *others = read(folder, joints)['annotations']
    assert not others  # which have no joint in their images
    assert first['num_keypoints'] == 10
    found = np.reshape(first['keypoints'], (14, 3))
    assert not found[:4].any()
    assert found[4:6].tolist() == [[0, 0, 2], [199.9, 99.9, 2]]
    assert first['bbox'] == pytest.approx([0, 0, 200, 100])
    path = folder / 'joints.mat'
    assert messages == [
        f"18 of 28 labelled joints in annotation file '{path}' are outside of "
        'their images and count as not labelled'
    ]
    read(folder, joints[:2], images=(2, 2))
    assert len(messages) == 1


def in_words(joints, size, extended):
    """The rules, one joint at a time."""
    found, xs, ys = [], [], []
    for x, y, flag in joints.tolist():
        there = 0 <= x < size[0] and 0 <= y < size[1]
        if not there or (extended and not flag):
            found += [0, 0, 0]
            continue
        found += [x, y, 2 if extended or not flag else 1]
        xs.append(x)
        ys.append(y)
    if not xs:
        return None, None
    margin = max(max(xs) - min(xs), max(ys) - min(ys)) / 10
    left, top = max(min(xs) - margin, 0), max(min(ys) - margin, 0)
    right = min(max(xs) + margin, size[0])
    bottom = min(max(ys) + margin, size[1])
    return found, [left, top, right - left, bottom - top]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    extended=st.booleans(),
    shift=st.sampled_from([0, 30, 300]),
)
def test_all_rules_against_words(tmp_path_factory, seed, extended, shift):
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp('lsp')
    number = int(rng.integers(1, 5))
    joints = rng.uniform(-20, 120, (number, 14, 3)).round(2) + shift
    joints[..., 2] = rng.random((number, 14)) < rng.random()
    sizes = rng.integers(1, 150, (number, 2)).tolist()
    pattern = 'im{:05}.jpg' if extended else 'im{:04}.jpg'
    for i, size in enumerate(sizes):
        Image.new('L', size).save(folder / pattern.format(i + 1))
    content = read(folder, joints, extended)
    expected = {
        i + 1: in_words(joints[i], sizes[i], extended) for i in range(number)
    }
    found = {a['id']: a for a in content['annotations']}
    assert set(found) == {i for i, (joints, _) in expected.items() if joints}
    for i, annotation in found.items():
        assert annotation['keypoints'] == expected[i][0]
        assert annotation['bbox'] == pytest.approx(expected[i][1])
        assert annotation['num_keypoints'] == sum(
            flag > 0 for flag in expected[i][0][2::3]
        )


def test_some_of_the_images(folder):
    joints = np.stack([person(i) for i in range(5)])
    content = read(folder, joints, images=(2, 3))
    for key in ('images', 'annotations'):
        assert [item['id'] for item in content[key]] == [2, 3]
    assert content['annotations'][0]['keypoints'][0] == 11
    content = read(folder, joints, skip_missing=True)
    assert [image['id'] for image in content['images']] == [1, 2, 3]
    content = read(folder, joints, images=(3, 5), skip_missing=True)
    assert [a['id'] for a in content['annotations']] == [3]
    with pytest.raises(InputError, match=r'im00004\.jpg.* \(2 of 5 images'):
        read(folder, joints)
    with pytest.raises(InputError, match=r"none .* '.*4\.jpg' to '.*5\.jpg'"):
        read(folder, joints, images=(4, 5), skip_missing=True)
    for wrong in ((0, 2), (3, 2), (2, 6), (-2, -1)):
        message = f'images {wrong[0]} to {wrong[1]} are not in annotation file'
        with pytest.raises(InputError, match=message + '.* has 1 to 5$'):
            read(folder, joints, images=wrong)


# ------------------------------------------------------------- wrong files


@pytest.mark.parametrize(
    'shape',
    [(14, 3), (14, 2, 5), (5, 14, 3), (14, 3, 2, 2), (14, 3, 0), (3, 3, 5)],
)
def test_other_shapes(tmp_path, shape):
    path = tmp_path / 'joints.mat'
    savemat(path, dict(joints=np.ones(shape)))
    with pytest.raises(InputError) as e:
        read_lsp(str(path), str(tmp_path))
    assert str(e.value) == (
        f"annotation file '{path}': expected 'joints' of shape (14, 3, N), as "
        'LSP extended has it, or (3, 14, N), as LSP has it; got '
        f'{shape}'
    )


@pytest.mark.parametrize('extended', [True, False])
@pytest.mark.parametrize(
    ('axis', 'value', 'message'),
    [
        (0, np.nan, 'x is nan, expected a number of px'),
        (1, -np.inf, 'y is -inf, expected a number of px'),
        (2, np.nan, 'flag is nan, expected 0 or 1'),
        (2, 2, 'flag is 2, expected 0 or 1'),
        (2, -1, 'flag is -1, expected 0 or 1'),
        (2, 0.5, 'flag is 0.5, expected 0 or 1'),
        (2, 1.00000001, 'flag is 1.00000001, expected 0 or 1'),
    ],
)
def test_wrong_values(folder, extended, axis, value, message):
    joints = np.stack([person()] * 3)
    joints[1, 12, axis] = joints[2, 0, 0] = value
    with pytest.raises(InputError) as e:
        read(folder, joints, extended)
    path = folder / 'joints.mat'
    assert (
        str(e.value) == f"annotation file '{path}', image 2, neck: {message}"
    )


def test_other_files(folder):
    path = folder / 'joints.mat'
    whole = save(path, person()[None])
    with pytest.raises(InputError, match="image folder 'no/such' does not"):
        read_lsp(whole, 'no/such')
    with pytest.raises(InputError, match=r"'no\.mat' does not exist"):
        read_lsp('no.mat', str(folder))
    savemat(path, dict(poses=np.ones((14, 3, 2))))
    with pytest.raises(InputError, match=r"joints\.mat' has no 'joints'"):
        read_lsp(str(path), str(folder))
    path.write_text('right ankle, right knee')
    with pytest.raises(InputError, match=r"joints\.mat' is no file of MATLAB"):
        read_lsp(str(path), str(folder))


def test_images_that_cannot_be_read(folder):
    (folder / 'im00002.jpg').write_text('no picture')
    joints = np.stack([person()] * 3)
    for kwargs in ({}, dict(skip_missing=True)):
        with pytest.raises(InputError, match=r'im00002\.jpg.* cannot be read'):
            read(folder, joints, **kwargs)


# -------------------------------------------------------------- in MMPose


def test_samples(folder):
    joints = np.stack([person(), person(), person()])
    joints[0, 3] = joints[1] = NOWHERE
    data = make(folder, joints)
    assert len(data) == 2  # the second image has no joint
    first, last = data
    assert (first['id'], last['img_id']) == (1, 3)
    assert first['img_path'] == str(folder / 'im00001.jpg')
    assert first['keypoints'].shape == (1, 14, 2)
    assert first['keypoints_visible'][0].tolist() == [1] * 3 + [0] + [1] * 10
    assert first['bbox'].tolist() == [[0, 37, 153, 63]]
    coco = COCO(str(folder / 'lsp.json'))
    assert coco.getImgIds() == [1, 2, 3] and coco.getAnnIds() == [1, 3]


def test_both_data_sets_in_one(folder):
    """Which MMEngine allows if their descriptions are the same."""
    for name, extended, number in (('lspet', True, 3), ('lsp', False, 2)):
        content = read(folder, np.stack([person()] * number), extended)
        (folder / f'{name}.json').write_text(json.dumps(content))
    parts = [
        dict(
            type='LSPDataset',
            data_root=str(folder),
            ann_file=f'{name}.json',
            data_prefix=dict(img=''),
        )
        for name in ('lspet', 'lsp')
    ]
    data = DATASETS.build(dict(type='ConcatDataset', datasets=parts))
    names = [sample['img_path'].rpartition('/')[2] for sample in data]
    assert names == [f'im{i:05}.jpg' for i in (1, 2, 3)] + [
        f'im{i:04}.jpg' for i in (1, 2)
    ]


LOAD = [dict(type='LoadImage'), dict(type='GetBBoxCenterScale')]
CROP = dict(type='TopdownAffine', input_size=(64, 64))


def test_flips_swap_left_and_right(folder):
    joints = person()[None]
    joints[0, 0] = NOWHERE  # the right ankle
    flip = dict(type='RandomFlip', prob=1.0, direction='horizontal')
    (plain,) = make(folder, joints, pipeline=LOAD)
    (flipped,) = make(folder, joints, pipeline=[*LOAD, flip])
    x = {
        name: (sample['keypoints'][0, i, 0], sample['keypoints_visible'][0, i])
        for sample in (flipped,)
        for i, name in enumerate(LSP_KEYPOINTS)
    }
    assert x['left_ankle'][1] == 0 and x['right_ankle'] == (199 - 60, 1)
    for i, name in enumerate(LSP_KEYPOINTS):
        side, _, part = name.partition('_')
        other = dict(left='right_', right='left_').get(side)
        there = x[other + part if other else name]
        assert there[1] == plain['keypoints_visible'][0, i]
        if there[1]:
            assert there[0] == 199 - 10 * (i + 1)


def test_topdown_pipeline(folder):
    np.random.seed(0)
    codec = dict(type='MSRAHeatmap', input_size=(64, 64),
                 heatmap_size=(16, 16), sigma=1)  # fmt: skip
    joints = np.stack([person(), person()])
    joints[0, 3] = NOWHERE
    data = make(
        folder,
        joints,
        pipeline=[
            *LOAD, CROP,
            dict(type='GenerateTarget', encoder=codec,
                 use_dataset_keypoint_weights=True),
            dict(type='PackPoseInputs'),
        ],
    )  # fmt: skip
    batch = pseudo_collate([data[0], data[1]])
    first, second = batch['data_samples']
    assert first.dataset_name == 'lsp'
    weights = first.gt_instance_labels.keypoint_weights[0]
    assert weights.numpy() == pytest.approx(
        [1.5, 1.2, 1, 0, 1.2, 1.5, 1.5, 1.2, 1, 1, 1.2, 1.5, 1, 1]
    )
    heatmaps = first.gt_fields.heatmaps
    assert heatmaps.shape == (14, 16, 16)
    # From 0.8 cells on, the middle of a joint is near that of a cell.
    assert (heatmaps.amax((1, 2)) > 0.7).tolist() == [
        i != 3 for i in range(14)
    ]
    assert second.gt_instance_labels.keypoint_weights.min() == 1


class Moved(BaseModel):
    """Finds joint i by 2 * i px beside the truth."""

    def forward(self, inputs, data_samples, mode):
        assert mode == 'predict'
        for sample in data_samples:
            keypoints = sample.gt_instances.keypoints.copy()
            keypoints[..., 1] += 2 * np.arange(14)
            sample.pred_instances = InstanceData(
                keypoints=keypoints, keypoint_scores=np.ones((1, 14))
            )
        return data_samples


def run_test(folder, joints, *metrics, model=None):
    """Test a model on LSP by the loop of a runner."""
    make(folder, joints)
    runner = Runner(
        model=model or Moved(),
        work_dir=str(folder / 'work'),
        test_dataloader=dict(
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='LSPDataset',
                data_root=str(folder),
                ann_file='lsp.json',
                test_mode=True,
                pipeline=[*LOAD, CROP, dict(type='PackPoseInputs')],
            ),
        ),
        test_cfg=dict(),
        test_evaluator=list(metrics),
        default_scope='mmpose',
        experiment_name=uuid.uuid4().hex,
    )
    return runner.test()


def test_metrics_of_mmpose_and_ours(folder):
    joints = np.stack([person()] * 3)
    joints[1, 13] = NOWHERE
    joints[2, 0] = NOWHERE
    found = run_test(
        folder,
        joints,
        dict(type='PCKAccuracy', thr=0.1, prefix='mmpose'),
        dict(type='KeypointPCK'),
        dict(type='KeypointPCK', keypoints=['neck', 'left_hip'], prefix='two'),
    )
    # The longer sides are 153, 142 and 144 px; joint i is 2 * i px off.
    assert found['PCK@0.05'] == pytest.approx(4 / 14)
    assert found['PCK@0.1'] == pytest.approx(8 / 14)
    assert found['mmpose/PCK'] == pytest.approx(8 / 14)
    assert found['PCK@0.2'] == 1
    assert found['right_ankle@0.1'] == 1 and found['head_top@0.1'] == 0
    assert found['two/PCK@0.1'] == 0.5 and found['two/neck@0.1'] == 0
    assert set(found) == {
        *('PCK@0.05', 'PCK@0.1', 'PCK@0.2', 'mmpose/PCK'),
        *(f'{name}@0.1' for name in LSP_KEYPOINTS),
        *('two/PCK@0.05', 'two/PCK@0.1', 'two/PCK@0.2'),
        *('two/neck@0.1', 'two/left_hip@0.1'),
    }


class Untested(BaseModel):
    def forward(self, *_, **__):
        raise AssertionError('an image was tested')


def test_wrong_keypoints_are_seen_before_the_first_image(folder):
    with pytest.raises(InputError, match="keypoints has 'hips', but"):
        run_test(
            folder,
            person()[None],
            dict(type='KeypointPCK', keypoints=['neck', 'hips']),
            model=Untested(),
        )


def test_checks_before_a_run(folder):
    make(folder, np.stack([person()] * 3))
    content = json.loads((folder / 'lsp.json').read_text())

    def check(change=None):
        changed = json.loads(json.dumps(content))
        if change is not None:
            change(SimpleNamespace(**changed))
        (folder / 'lsp.json').write_text(json.dumps(changed))
        dataset = dict(
            type='LSPDataset', data_root=str(folder), ann_file='lsp.json'
        )
        model = dict(
            type='TopdownPoseEstimator',
            head=dict(type='HeatmapHead', in_channels=8, out_channels=14),
        )
        cfg = Config(
            dict(
                default_scope='mmpose',
                model=model,
                train_dataloader=dict(dataset=dataset),
                train_cfg=dict(max_epochs=1),
                optim_wrapper=dict(optimizer=dict(type='Adam')),
            )
        )
        return check_config(cfg, 'train')

    assert check() == []

    def as_coco_has_them(content):
        for annotation in content.annotations:
            annotation['keypoints'] = [5.0, 5.0, 2] * 17

    with pytest.raises(InputError) as e:
        check(as_coco_has_them)
    assert 'annotation 1 has 17 keypoints, but' in str(e.value)
    assert '(LSPDataset metainfo) has 14' in str(e.value)
    assert '(3 of 3 annotations differ)' in str(e.value)

    def one_too_few(content):
        content.annotations[1]['keypoints'] = [5.0, 5.0, 2] * 13

    with pytest.raises(InputError, match=r'2: keypoints of 39 .* expected 42'):
        check(one_too_few)

    def without_joints(content):
        for annotation in content.annotations:
            annotation['keypoints'] = [0.0] * 42

    with pytest.raises(InputError, match='none of its 3 persons has a'):
        check(without_joints)

    def elsewhere(content):
        for image in content.images:
            image['file_name'] = '../' + image['file_name']

    with pytest.raises(InputError, match='has none of the first 3 images'):
        check(elsewhere)
    with pytest.raises(InputError, match='has no annotations'):
        check(lambda content: content.annotations.clear())
