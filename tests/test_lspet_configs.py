"""The configs on photographs of persons in sport, without the photographs."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import posenet_graphs
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import METRICS, MODELS
from run_tools import error_of, evaluate, read, train, train_tool  # noqa: F401

from mmpose_ext.checks import check_config
from mmpose_ext.converters import write_weights
from mmpose_ext.converters.posenet import read_posenet
from mmpose_ext.datasets import LSPDataset

ROOT = Path(__file__).parents[1]
LSPET = sorted(ROOT.glob('configs/*/*_lspet-*.py'))
each = pytest.mark.parametrize('path', LSPET, ids=lambda path: path.stem)


def names_of(cfg, split):
    return [s.type for s in cfg[f'{split}_dataloader'].dataset.pipeline]


def test_each_family_has_one():
    families = {path.parent.name for path in LSPET}
    assert families == {'gccpm', 'psm', 'ram_gpr'}


@each
def test_name_says_batch_epochs_and_width(path):
    cfg = Config.fromfile(path)
    name = re.search(r'-w([\d.]+)_1xb(\d+)-(\d+)e_lspet-', path.stem)
    width, batch, epochs = float(name[1]), int(name[2]), int(name[3])
    assert cfg.model.backbone.widen_factor == width
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.train_cfg.max_epochs == epochs
    # Rates fall to the end, and no further.
    *_, last = cfg.param_scheduler
    assert last.type == 'CosineAnnealingLR' and last.by_epoch
    assert last.get('end', epochs) == epochs
    assert last.T_max + last.get('begin', 0) == epochs


@each
def test_trunk_is_posenets(path):
    cfg = Config.fromfile(path)
    trunk = cfg.model.backbone
    assert trunk.type == 'MobileNetV1' and trunk.act_cfg == dict(type='ReLU6')
    # Its norms were folded: they must not see batches.
    assert trunk.norm_eval
    weights = f'data/posenet/mobilenet-v1-w{trunk.widen_factor}.pth'
    assert trunk.init_cfg == dict(
        type='Pretrained', checkpoint=weights, prefix='backbone.'
    )
    # Read as RGB / 127.5 - 1.
    init_default_scope('mmpose')
    preprocessor = MODELS.build(cfg.model.data_preprocessor).eval()
    pixel = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1)
    found = preprocessor(dict(inputs=[pixel], data_samples=[]))['inputs']
    expected = torch.tensor([1, -0.6, -1]).view(1, 3, 1, 1)
    torch.testing.assert_close(found, expected)
    assert f'{weights}' in cfg.made_by[weights]


@each
def test_data_pipelines_and_metric_fit(path):
    cfg = Config.fromfile(path)
    # For MMPose's inferencer.
    assert (cfg.dataset_type, cfg.data_mode) == ('LSPDataset', 'topdown')
    for split, file in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.type == 'LSPDataset'
        assert dataset.data_root == 'data/lspet/'
        assert dataset.ann_file == f'{file}.json'
        assert dataset.data_prefix == dict(img='images/')
        assert dataset.get('test_mode', False) == (split != 'train')
    assert cfg.val_dataloader == cfg.test_dataloader
    assert cfg.val_evaluator == cfg.test_evaluator
    train, val = names_of(cfg, 'train'), names_of(cfg, 'val')
    # Nothing is drawn at random in tests, where all of it comes from above.
    assert set(val) < set(train)
    assert not any('Random' in name or 'Mask' in name for name in val)
    assert {'RandomFlip', 'RandomBBoxTransform', 'GenerateTarget'} < set(train)
    assert cfg.model.test_cfg.flip_test
    assert cfg.model.test_cfg.flip_mode == 'heatmap'

    init_default_scope('mmpose')
    metric = METRICS.build(cfg.val_evaluator)
    limbs = set(LSPDataset(lazy_init=True).metainfo['keypoint_name2id'])
    limbs -= {'neck', 'head_top'}
    assert set(metric.keypoints) == limbs and len(metric.keypoints) == 12
    assert tuple(metric.thrs) == (0.05, 0.1, 0.2)


@each
def test_dumped_config_is_the_same(path, tmp_path):
    """As each run writes it, with the command that makes the trunk."""
    cfg = Config.fromfile(path)
    cfg.dump(tmp_path / path.name)
    again = Config.fromfile(tmp_path / path.name)
    assert again.to_dict() == cfg.to_dict()


# -- Runs --------------------------------------------------------------------


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    """Six made-up images of one person each, as the data set lies there."""
    folder = tmp_path_factory.mktemp('lspet')
    (folder / 'images').mkdir()
    rng = np.random.default_rng(0)
    metainfo = LSPDataset(lazy_init=True).metainfo
    number = metainfo['num_keypoints']
    category = dict(
        id=1,
        name='person',
        keypoints=list(metainfo['keypoint_name2id']),
        skeleton=[],
    )
    for split, ids in (('train', range(1, 5)), ('val', range(5, 7))):
        images, annotations = [], []
        for i in ids:
            name = f'im{i:05d}.jpg'
            image = rng.integers(0, 256, (90, 60, 3), np.uint8)
            cv2.imwrite(str(folder / 'images' / name), image)
            images.append(dict(id=i, file_name=name, width=60, height=90))
            joints = np.column_stack(
                (
                    rng.uniform((5, 5), (55, 85), (number, 2)),
                    2 * rng.integers(0, 2, number),
                )
            )
            joints[:3, 2] = 2
            joints[joints[:, 2] == 0] = 0
            annotations.append(
                dict(
                    id=i,
                    image_id=i,
                    category_id=1,
                    iscrowd=0,
                    bbox=[5, 5, 50, 80],
                    area=2000,
                    num_keypoints=int((joints[:, 2] > 0).sum()),
                    keypoints=joints.ravel().tolist(),
                )
            )
        content = dict(
            images=images, annotations=annotations, categories=[category]
        )
        (folder / f'{split}.json').write_text(json.dumps(content))
    return folder


def options_for(photographs):
    options = {'train_dataloader.batch_size': 2, 'train_cfg.max_epochs': 1}
    for split in ('train', 'val', 'test'):
        options.update(
            {
                f'{split}_dataloader.dataset.data_root': photographs,
                f'{split}_dataloader.num_workers': 0,
                f'{split}_dataloader.persistent_workers': False,
            }
        )
    return options


@each
def test_trains_from_the_trunk_and_is_tested(path, photographs, tmp_path):
    """Two steps on four images, and a test on two."""
    width = Config.fromfile(path).model.backbone.widen_factor
    graph = posenet_graphs.write_graph(tmp_path, width=width)
    trunk = {
        f'backbone.{key}': value
        for key, value in read_posenet(str(graph)).state_dict().items()
    }
    weights = tmp_path / 'trunk.pth'
    write_weights(str(weights), trunk, str(graph))
    options = options_for(photographs)
    options['model.backbone.init_cfg.checkpoint'] = weights
    work_dir = tmp_path / 'run'
    train(path, '--work-dir', work_dir, **options)
    (checkpoint,) = work_dir.glob('epoch_1.pth')
    content = read(checkpoint)
    assert content['meta']['iter'] == 2
    # Still the trunk, trained for two steps, with the norms as they were.
    moved = 0
    for key, after in content['state_dict'].items():
        if key.startswith('backbone.') and after.is_floating_point():
            change = (after - trunk[key]).abs().max()
            moved += int(change > 0)
            assert change < 0.01 and ('running' not in key or not change), key
    assert moved > 0

    metrics = evaluate(path, checkpoint, '--work-dir', tmp_path, **options)
    for key in ('PCK@0.05', 'PCK@0.1', 'PCK@0.2', 'right_ankle@0.1'):
        assert 0 <= metrics[key] <= 1
    assert 'neck@0.1' not in metrics
    (log,) = work_dir.glob('*/*.log')
    assert 'PCK@0.1: ' in log.read_text()


@pytest.mark.parametrize('what', ['trunk', 'data'])
def test_missing_files_end_a_training_before_it_starts(
    what,
    photographs,
    tmp_path,
    monkeypatch,
    error_of,  # noqa: F811
):
    monkeypatch.chdir(tmp_path)  # where there is no data/
    options = options_for(photographs)
    if what == 'data':
        del options['train_dataloader.dataset.data_root']
    message = error_of(train_tool, LSPET[0], **options)
    if what == 'data':
        assert "'data/lspet/train.json' does not exist" in message
    else:
        weights = 'data/posenet/mobilenet-v1-w0.75.pth'
        assert message == (
            f"checkpoint (model.backbone.init_cfg.checkpoint) '{weights}' "
            'does not exist; make it by: python tools/converters/posenet.py '
            f'POSENET.json {weights}\n'
        )
    assert not (tmp_path / 'work').exists()


@each
def test_a_test_needs_no_trunk(path, photographs, tmp_path, monkeypatch):
    """Who tests weights in the package has never made its file."""
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options_for(str(photographs)))
    assert check_config(cfg, 'test') == []
