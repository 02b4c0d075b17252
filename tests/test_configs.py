"""What every pose config of the project must hold."""

import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS, PARAM_SCHEDULERS

ROOT = Path(__file__).parents[1]
RAM_GPR = sorted((ROOT / 'configs/ram_gpr').glob('*.py'))


def load(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    return cfg


@pytest.mark.parametrize('path', RAM_GPR, ids=lambda path: path.stem)
def test_one_codec_and_one_input_size(path):
    """An overridden codec does not reach inherited pipelines by itself."""
    cfg = load(path)

    def plain(codec):
        return {k: v for k, v in codec.items() if k != '_scope_'}

    (target,) = (
        t for t in cfg.train_dataloader.dataset.pipeline if 'encoder' in t
    )
    assert plain(target.encoder) == plain(cfg.codec)
    assert plain(cfg.model.head.decoder) == plain(cfg.codec)
    for split in ('train', 'val', 'test'):
        pipeline = cfg[f'{split}_dataloader'].dataset.pipeline
        (affine,) = (t for t in pipeline if t.type == 'TopdownAffine')
        assert affine.input_size == cfg.codec.input_size
    width, height = cfg.codec.input_size
    assert f'{height}x{width}' in path.stem


@pytest.mark.parametrize('path', RAM_GPR, ids=lambda path: path.stem)
def test_parameters_are_those_of_the_readme(path):
    cfg = load(path)
    cfg.model.backbone.init_cfg = None
    count = sum(p.numel() for p in MODELS.build(cfg.model).parameters())
    readme = (path.parent / 'README.md').read_text()
    (row,) = re.findall(rf'^.*\({re.escape(path.name)}\).*$', readme, re.M)
    assert f' {count / 1e6:.3f} ' in row


@pytest.mark.parametrize('path', RAM_GPR, ids=lambda path: path.stem)
def test_learning_rate_restarts(path):
    """SGDR, equation 5: half a cosine per cycle, updated every iteration."""
    cfg = load(path)
    (schedule,) = cfg.param_scheduler
    assert sum(schedule.periods) == cfg.train_cfg.max_epochs
    for a, b in zip(schedule.periods, schedule.periods[1:]):
        assert b == 2 * a

    lr, length = cfg.optim_wrapper.optimizer.lr, 3
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([parameter], lr=lr)
    scheduler = PARAM_SCHEDULERS.build(
        dict(schedule, optimizer=optimizer, epoch_length=length)
    )
    for period in schedule.periods:
        for step in range(period * length):
            expected = (
                lr / 2 * (1 + math.cos(math.pi * step / period / length))
            )
            actual = optimizer.param_groups[0]['lr']
            assert actual == pytest.approx(expected, rel=1e-6, abs=1e-9)
            optimizer.step()
            scheduler.step()
