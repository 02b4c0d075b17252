"""What every pose config of the project must hold."""

import functools
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.datasets.transforms import RandomBBoxTransform
from mmpose.registry import DATASETS, MODELS, PARAM_SCHEDULERS, TRANSFORMS

from mmpose_ext.datasets.transforms import ClippedBBoxTransform

ROOT = Path(__file__).parents[1]
RAM_GPR = sorted((ROOT / 'configs/ram_gpr').glob('*.py'))
PSM = sorted((ROOT / 'configs/psm').glob('*.py'))
GCCPM = sorted((ROOT / 'configs/gccpm').glob('*.py'))
LOGOCAP = sorted((ROOT / 'configs/logocap').glob('*.py'))
# All, so that a new method's are found; those of MMDet have other tests.
POSE = sorted(
    path
    for path in ROOT.glob('configs/[!_]*/*.py')
    if path.parent.name not in ('multitask_rcnn', 'person_detector')
)
TOYS = sorted(ROOT.glob('configs/*/*toy-*.py'))
# Their recipes are their own; test_lspet_configs.py has more about them.
LSPET = sorted(ROOT.glob('configs/*/*_lspet-*.py'))


def each(paths):
    assert paths
    return pytest.mark.parametrize('path', paths, ids=lambda path: path.stem)


@functools.cache
def load(path):
    """A config, once for all tests."""
    return Config.fromfile(path)


@functools.cache
def build(path):
    """Its network without weights, once for all tests."""
    init_default_scope('mmpose')
    with torch.device('meta'):
        return MODELS.build(load(path).model).eval()


def without_lspet(paths):
    return [path for path in paths if path not in LSPET]


def plain(codec):
    return {k: v for k, v in codec.items() if k != '_scope_'}


def by_type(dataloader):
    return {step.type: step for step in dataloader.dataset.pipeline}


def test_entries_of_a_list_are_found_by_type():
    """Their numbers may change with the base."""
    for path in ROOT.glob('configs/**/*.py'):
        assert not re.search(r'\w\[\d', path.read_text()), path


@each(TOYS)
def test_toys_share_data_and_hooks(path):
    cfg = load(path)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        assert loader.dataset.data_root.startswith('data/toy_persons/')
        assert loader.num_workers == 0
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.interval, checkpoint.max_keep_ckpts) == (1, 2)
    assert checkpoint.get('by_epoch', True) and checkpoint.save_best is None
    assert checkpoint.backend_args == dict(backend='atomic')
    assert dict(type='RandomStateHook') in cfg.custom_hooks
    epochs = cfg.train_cfg.max_epochs
    assert f'-{epochs}e_' in path.stem and cfg.train_cfg.val_interval == epochs


@each(POSE)
def test_one_codec_and_one_input_size(path):
    """An overridden codec does not reach inherited pipelines by itself."""
    cfg = load(path)
    codec = plain(cfg.codec)
    width, height = codec['input_size']
    strides = {a / b for a, b in zip((width, height), codec['heatmap_size'])}
    assert strides == {4} if path in LOGOCAP else len(strides) == 1
    assert f'{height}x{width}' in path.stem
    steps = by_type(cfg.train_dataloader)
    assert plain(steps['GenerateTarget'].encoder) == codec
    assert plain(cfg.model.head.decoder) == codec
    tested = re.search(r'-test(\d+)_', path.stem)
    for split in ('train', 'val', 'test'):
        if tested and split == 'val':
            width = height = int(tested[1])
        steps = by_type(cfg[f'{split}_dataloader']).values()
        sizes = [step.input_size for step in steps if 'input_size' in step]
        assert sizes == [(width, height)]


@each(POSE)
def test_parameters_are_those_of_the_readme(path):
    count = sum(p.numel() for p in build(path).parameters())
    readme = (path.parent / 'README.md').read_text()
    (row,) = re.findall(rf'^.*\({re.escape(path.name)}\).*$', readme, re.M)
    assert f' {count / 1e6:.3f} ' in row


@each(without_lspet(RAM_GPR))
def test_learning_rate_restarts(path):
    """SGDR, equation 5: half a cosine per cycle, updated every iteration."""
    cfg = load(path)
    first, *others = periods = cfg.param_scheduler[-1].periods
    assert others == [first * 2**i for i in range(1, len(periods))]
    assert sum(periods) == cfg.train_cfg.max_epochs
    sgdr = dict(type='CosineRestartLR', eta_min=0, by_epoch=True)
    sgdr.update(periods=periods, restart_weights=[1] * len(periods))
    assert cfg.param_scheduler == [dict(sgdr, convert_to_iter_based=True)]


@each(without_lspet(RAM_GPR))
def test_boxes_of_ram_gpr_are_drawn_as_hrnets(path):
    """Section 4.3; the toy network keeps what its figures were made with."""
    steps = by_type(load(path).train_dataloader)
    (box,) = (name for name in steps if 'BBoxTransform' in name)
    box = TRANSFORMS.build(steps[box])
    if 'toy' in path.stem:
        assert type(box) is RandomBBoxTransform
        assert (box.scale_factor, box.rotate_factor) == ((0.8, 1.2), 20)
    else:
        assert type(box) is ClippedBBoxTransform
        assert (box.scale_factor, box.rotate_factor) == ((0.65, 1.35), 45)
    probabilities = (box.shift_prob, box.scale_prob, box.rotate_prob)
    assert probabilities == (0, 1, 0.6)
    assert ('Cutout' in steps) == ('wo-cutout' not in path.stem)


@each([*PSM, *GCCPM, *(path for path in LSPET if path in RAM_GPR)])
def test_heatmaps_are_those_of_the_codec(path):
    """Of its size and number, and no wrong settings of the optimizer."""
    cfg, model = load(path), build(path)
    width, height = cfg.codec.input_size
    image = torch.empty(1, 3, height, width, device='meta')
    maps = model(image, None, mode='tensor')
    maps = maps[-1] if isinstance(maps, list) else maps
    background = cfg.codec.type == 'BackgroundHeatmap'
    num_maps = cfg.model.head.out_channels
    assert maps.shape[1:] == (num_maps, *cfg.codec.heatmap_size[::-1])
    swaps = parse_pose_metainfo(
        DATASETS.get(cfg.train_dataloader.dataset.type).METAINFO
    )['flip_indices']
    assert num_maps == len(swaps) + background
    build_optim_wrapper(model, cfg.optim_wrapper)


@each(GCCPM)
def test_body_masking_is_in_the_name_if_it_is_missing(path):
    dataset = load(path).train_dataloader.dataset
    types = [step.type for step in dataset.pipeline]
    if path not in LSPET:
        assert types.count('ChannelPermutation') == 1
    maskings = [type_ for type_ in types if 'Masking' in type_]
    if 'wo-masking' in path.stem:
        assert maskings == []
    elif 'keypoint-masking' in path.stem:
        assert maskings == ['KeypointMasking']
    else:
        assert maskings == ['BodyMasking']
        # It is drawn where the image is the person.
        before = types.index('BodyMasking') < types.index(
            'PaddedTopdownAffine'
        )
        assert before == (dataset.type == 'LIPDataset')


def test_learning_rates_of_gccpm_drop_twice():
    """By ten, all of them, and no further."""
    (path,) = (p for p in GCCPM if '2stage_ushape_mobilenet-v1_' in p.stem)
    cfg = load(path)
    optim_wrapper = build_optim_wrapper(build(path), cfg.optim_wrapper)
    groups = optim_wrapper.optimizer.param_groups
    start = [group['lr'] for group in groups]
    assert {round(lr / 4e-5, 6) for lr in start} == {1, 2, 4, 8}
    scheduler = PARAM_SCHEDULERS.build(
        dict(cfg.param_scheduler[0], optimizer=optim_wrapper)
    )
    rates = []
    for _ in range(40):
        scheduler.step({'lip/error': 20.0})
        rates.append(groups[0]['lr'])
    expected = [start[0] / 10**i for i in range(3)]
    assert sorted(set(rates))[::-1] == pytest.approx(expected)
    end = [group['lr'] for group in groups]
    assert end == pytest.approx([lr / 100 for lr in start], rel=1e-6)


@each(without_lspet(PSM))
def test_recipe_of_the_psm_report(path):
    """Section 2.2: half bodies of more than eight joints, and the score."""
    cfg = load(path)
    assert cfg.val_evaluator.score_mode == 'bbox_keypoint'
    assert cfg.test_evaluator.score_mode == 'bbox_keypoint'
    if 'coco' in path.stem:
        steps = by_type(cfg.train_dataloader)
        assert steps['RandomHalfBody'].min_total_keypoints == 9
        box = steps['RandomBBoxTransform']
        assert (box.shift_prob, box.rotate_factor) == (0, 45)
        assert tuple(box.scale_factor) == (0.7, 1.35)


@each(LOGOCAP)
def test_adaptation_is_that_of_the_name(path):
    name = re.match(r'logocap-(none|partial)_', path.stem)
    found = load(path).model.head.get('adaptation', 'full')
    assert found == (name[1] if name else 'full')


@each([p for p in LOGOCAP if 'coco' in p.stem])
def test_recipe_of_logocap(path):
    """Its supplementary material, section 1, and the official training."""
    cfg = load(path)
    optim_wrapper = build_optim_wrapper(build(path), cfg.optim_wrapper)
    (group,) = optim_wrapper.optimizer.param_groups
    assert (group['lr'], group['weight_decay']) == (1e-3, 0)
    assert group['betas'] == (0.9, 0.999)
    (schedule,) = cfg.param_scheduler  # no warm-up
    assert (schedule.milestones, schedule.gamma) == ([90, 120], 0.1)
    assert schedule.get('by_epoch', True)
    assert cfg.train_cfg.max_epochs == 140
    gpus, batch = map(int, re.search(r'_(\d)xb(\d+)-', path.stem).groups())
    assert cfg.train_dataloader.batch_size == batch == 12
    assert cfg.auto_scale_lr.base_batch_size == gpus * batch

    steps = by_type(cfg.train_dataloader)
    affine = TRANSFORMS.build(steps['BottomupShortSideAffine'])
    assert affine.scale_factor == (0.75, 1.5)
    assert affine.rotate_factor == 30
    assert affine.shift_factor == 0.2  # 40 px of 200
    assert steps['RandomFlip'].get('prob', 0.5) == 0.5
    assert cfg.model.test_cfg.flip_test
    head = build(path).head
    assert head.decoder.sigma == (4, 2)
    assert head.decoder.min_area == 32**2
    assert head.expansion.ksize == 11
    assert (head.search.radius, head.search.sigma) == (48, 16)
    assert head.target_sigma == 4
    assert (head.oks_loss_weight, head.window_loss_weight) == (0.01, 1)
    assert (head.offset_loss.loss_weight, head.heatmap_loss.loss_weight) == (
        0.01,
        1,
    )
    meta = parse_pose_metainfo(DATASETS.get('CocoDataset').METAINFO)
    assert head.expansion.sigmas.tolist() == pytest.approx(meta['sigmas'])
