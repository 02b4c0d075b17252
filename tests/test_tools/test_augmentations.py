from functools import partial
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample

from mmpose_ext.analysis.augmentations import (
    arrange,
    draw_samples,
    load_training_set,
)
from mmpose_ext.errors import InputError


@pytest.fixture
def run(run_script):
    return partial(run_script, 'tools/analysis/augmentations.py')


@pytest.fixture
def write_config(tiny_config, tmp_path):
    """A child of the tiny config, with lines of its own."""

    def write(*lines):
        path = tmp_path / 'child.py'
        path.write_text('\n'.join([f"_base_ = '{tiny_config}'", *lines]))
        return path

    return write


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_sheet(run, tiny_config, tmp_path, suffix):
    outs = [tmp_path / f'{name}{suffix}' for name in 'abc']
    for out, seed in zip(outs, (0, 0, 1)):
        status, stdout, _ = run(
            tiny_config, '--out', out, '--num', 5, '--cols', 3, '--seed', seed
        )
        assert status == 0
        assert f'5 of 22 training samples: {out}' in stdout
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert outs[0].read_bytes() != outs[2].read_bytes()
    sheet = cv2.imread(str(outs[0]))
    assert sheet.shape == (2 * 96 + 4, 3 * 64 + 8, 3)
    assert (sheet[-90:, -60:] >= 250).all()  # no sixth sample
    assert (
        outs[0].read_bytes()[:4]
        == {
            '.png': b'\x89PNG',
            '.jpg': b'\xff\xd8\xff\xe0',
        }[suffix]
    )


def test_heatmaps_are_below_the_samples(run, tiny_config, tmp_path):
    out = tmp_path / 'sheet.png'
    args = (tiny_config, '--out', out, '--num', 2, '--overwrite')
    assert run(*args)[0] == 0
    plain = cv2.imread(str(out))
    assert run(*args, '--heatmaps')[0] == 0
    both = cv2.imread(str(out))
    assert both.shape == (2 * 96, 2 * 64 + 4, 3)
    np.testing.assert_array_equal(both[:96], plain)
    # Heat is red; what is cold in the overlay is blue.
    heat = both[96:].astype(int)
    assert (heat[..., 2] - heat[..., 0] > 50).any()
    assert (heat[..., 0] > heat[..., 2]).mean() > 0.5


class Samples(list):
    """A data set of packed samples."""

    metainfo = dict(
        num_keypoints=1,
        keypoint_colors=np.array([[255, 0, 0]]),
        skeleton_links=[],
        skeleton_link_colors=np.zeros((0, 3)),
    )


def make_sample(image, **instances):
    return dict(
        inputs=torch.from_numpy(image).permute(2, 0, 1),
        data_samples=PoseDataSample(gt_instances=InstanceData(**instances)),
    )


@pytest.mark.parametrize('rgb_to_bgr', [False, True])
def test_colours_and_places(rgb_to_bgr):
    """A blue image in BGR, and a red keypoint where the crop has moved it."""
    image = np.zeros((80, 120, 3), np.uint8)
    image[..., 2 if rgb_to_bgr else 0] = 200
    cfg = Config(
        dict(model=dict(data_preprocessor=dict(rgb_to_bgr=rgb_to_bgr)))
    )
    sample = make_sample(
        image,
        keypoints=np.array([[[5.0, 5.0]]]),
        transformed_keypoints=np.array([[[70.0, 30.0]]]),
        keypoints_visible=np.ones((1, 1)),
    )
    (drawn,) = draw_samples(cfg, Samples([sample]), num=1)
    assert (drawn[5, 5] == (200, 0, 0)).all()
    assert drawn[30, 70, 2] > 150 > drawn[30, 70, 0]
    changed = np.argwhere((drawn != (200, 0, 0)).any(-1))
    np.testing.assert_allclose(changed.mean(0), (30, 70), atol=0.6)


def test_hidden_keypoints_are_not_drawn():
    image = np.full((40, 40, 3), 7, np.uint8)
    sample = make_sample(
        image,
        keypoints=np.array([[[20.0, 20.0]]]),
        keypoints_visible=np.zeros((1, 1)),
    )
    drawn = list(draw_samples(Config({}), Samples([sample]), num=3))
    assert len(drawn) == 3 and all((tile == 7).all() for tile in drawn)


def test_shows_what_the_pipeline_does(write_config):
    """The crop, and a white quadrangle where the config asks for one."""

    def draw(*steps):
        cfg = Config.fromfile(
            write_config(
                'load, crop = _base_.load, _base_.crop',
                f'pipeline = [*load, crop, *{list(steps)}, '
                "dict(type='PackPoseInputs')]",
                'train_dataloader = dict(dataset=dict(pipeline=pipeline))',
            )
        )
        before = cfg.pretty_text
        dataset = load_training_set(cfg, 'child')
        tiles = list(draw_samples(cfg, dataset, num=4))
        assert cfg.pretty_text == before
        return tiles

    plain = draw()
    masked = draw(dict(type='BodyMasking', prob=1.0, fill=255))
    for before, after in zip(plain, masked):
        assert before.shape == after.shape == (96, 64, 3)
        white = (after == 255).all(-1).sum() - (before == 255).all(-1).sum()
        assert white > 60


def test_bottom_up(run, toy_persons, write_config, tmp_path):
    config = write_config(
        "codec = dict(type='SPR', input_size=(64, 64), heatmap_size=(16, 16), "
        'sigma=(4, 2), generate_keypoint_heatmaps=True)',
        "train_dataloader = dict(dataset=dict(data_mode='bottomup', pipeline=["
        "dict(type='LoadImage'),"
        "dict(type='BottomupRandomAffine', input_size=(64, 64)),"
        "dict(type='RandomFlip', direction='horizontal'),"
        "dict(type='KeypointMasking', prob=1.0, size=4, fill='background'),"
        "dict(type='GenerateTarget', encoder=codec),"
        "dict(type='BottomupGetHeatmapMask'),"
        "dict(type='PackPoseInputs')]))",
    )
    out = tmp_path / 'sheet.png'
    status, stdout, stderr = run(
        config, '--out', out, '--num', 2, '--heatmaps'
    )
    assert status == 0, stderr
    assert '2 of 12 training samples' in stdout
    assert cv2.imread(str(out)).shape == (128, 2 * 64 + 4, 3)


def test_more_samples_than_images(write_config):
    cfg = Config.fromfile(
        write_config('train_dataloader = dict(dataset=dict(indices=2))')
    )
    dataset = load_training_set(cfg, 'child')
    assert len(dataset) == 2
    tiles = list(draw_samples(cfg, dataset, num=5))
    assert len({tile.tobytes() for tile in tiles}) > 2


def test_arrange():
    tiles = [
        np.full((h, w, 3), value, np.uint8)
        for h, w, value in ((4, 6, 1), (5, 3, 2), (2, 2, 3))
    ]
    picture = arrange(tiles, columns=2)
    expected = np.full((5 + 4 + 5, 6 + 4 + 6, 3), 255)
    expected[:4, :6] = 1
    expected[:5, 10:13] = 2
    expected[9:11, :2] = 3
    np.testing.assert_array_equal(picture, expected)
    assert arrange(tiles, columns=9).shape == (5, 6 * 3 + 4 * 2, 3)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--out', 'sheet.gif'), "--out 'sheet.gif': expected a name"),
        (('--out', 'a.png', '--seed', '-1'), '--seed -1: expected 0'),
        (('--out', 'a.png', '--num', '0'), 'expected a whole number above'),
        ((), 'the following arguments are required: --out'),
    ],
)
def test_wrong_arguments(run, tiny_config, args, message):
    status, _, stderr = run(tiny_config, *args)
    assert status == 2 and message in stderr


def test_existing_file_stays(run, tiny_config, tmp_path):
    out = tmp_path / 'sheet.png'
    out.write_text('mine')
    status, _, stderr = run(tiny_config, '--out', out)
    assert status == 2 and f"output file '{out}' exists already" in stderr
    assert out.read_text() == 'mine'


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        (
            'train_dataloader = dict(_delete_=True)',
            "expected a config with a 'train_dataloader.dataset'",
        ),
        (
            "train_dataloader = dict(dataset=dict(ann_file='no.json'))",
            "no.json' does not exist",
        ),
        (
            "_base_.train_dataloader.dataset.pipeline.append(dict(type='Cut'))",
            "unknown type 'Cut'",
        ),
        (
            '_base_.train_dataloader.dataset.pipeline.pop(-2)',
            'the training targets have no heatmaps: leave out --heatmaps',
        ),
    ],
)
def test_wrong_configs(run, write_config, tmp_path, line, message):
    out = tmp_path / 'sheet.png'
    status, _, stderr = run(write_config(line), '--out', out, '--heatmaps')
    assert status == 2 and message in stderr
    assert not out.exists()


def test_a_missing_package(run, write_config, tmp_path):
    if find_spec('albumentations'):
        pytest.skip('albumentations is installed')
    config = write_config(
        "step = dict(type='Albumentation', transforms=[dict(type='Blur')])",
        '_base_.train_dataloader.dataset.pipeline.insert(2, step)',
    )
    status, _, stderr = run(config, '--out', tmp_path / 'sheet.png')
    assert status == 2 and 'albumentations is not installed' in stderr


def test_samples_that_are_no_images():
    sample = make_sample(np.zeros((4, 4, 3), np.uint8))
    sample['inputs'] = torch.zeros(27, 34)
    with pytest.raises(InputError, match=r'\(3, H, W\), got \(27, 34\)'):
        next(draw_samples(Config({}), Samples([sample])))
    with pytest.raises(InputError, match='no samples'):
        next(draw_samples(Config({}), Samples()))
