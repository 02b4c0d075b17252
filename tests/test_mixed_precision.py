"""One step and one prediction of every family in mixed precision."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner.amp import autocast

import mmpose_ext.multitask  # noqa: F401, registers its classes

CONFIGS = Path(__file__).parents[1] / 'configs'
TOY = {path.parent.name: path for path in CONFIGS.glob('*/*_toy-*.py')}
FAMILIES = ['gccpm', 'logocap', 'multitask_rcnn', 'psm', 'ram_gpr']


@pytest.fixture(params=FAMILIES)
def family(request, toy_persons):
    """The toy config of a family, and two samples to train and to test on."""
    cfg = Config.fromfile(TOY[request.param])
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        batches = []
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            folder = 'lip' if request.param == 'gccpm' else '.'
            loader.dataset.data_root = str(toy_persons / folder)
            np.random.seed(0)
            dataset = _registry('DATASETS').build(loader.dataset)
            batches.append(pseudo_collate([dataset[0], dataset[1]]))
        yield cfg, *batches


def _registry(name):
    scope = DefaultScope.get_current_instance().scope_name
    return getattr(import_module(f'{scope}.registry'), name)


def build(cfg):
    torch.manual_seed(0)
    model = _registry('MODELS').build(cfg.model)
    model.init_weights()
    if 'logocap' in cfg.filename:  # for persons to be found
        list(model.head.heatmap_branch.parameters())[-1].data.fill_(0.5)
    return model


def train_step(cfg, batch, **wrapper):
    """The losses and gradients of the first step, and the model after it."""
    model = build(cfg)
    optim_wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(type='SGD', lr=1e-4), **wrapper)
    )
    with optim_wrapper.optim_context(model):
        data = model.data_preprocessor(batch, training=True)
        losses = model(**data, mode='loss')
    loss, losses = model.parse_losses(losses)
    optim_wrapper.backward(loss)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    gradients = torch.cat([gradient.flatten() for gradient in gradients])
    optim_wrapper.step()
    return losses, gradients, model


def test_bfloat16(family):
    """The losses are near those of single precision; all is finite."""
    cfg, batch, test_batch = family
    plain, plain_gradients, _ = train_step(cfg, batch)
    losses, gradients, model = train_step(
        cfg, batch, type='AmpOptimWrapper', dtype='bfloat16'
    )
    assert losses.keys() == plain.keys()
    for name, loss in losses.items():
        if name.startswith('loss'):  # sums over maps
            assert loss.dtype == torch.float32, name
    assert losses['loss'].item() != plain['loss'].item()
    assert losses['loss'].item() == pytest.approx(
        plain['loss'].item(), rel=0.05
    )
    assert gradients.isfinite().all()
    assert gradients.norm().item() == pytest.approx(
        plain_gradients.norm().item(), rel=0.3
    )
    assert all(p.isfinite().all() for p in model.parameters())

    model.eval()
    with torch.no_grad(), autocast(dtype=torch.bfloat16):
        results = model.test_step(test_batch)
    for result in results:
        found = result.pred_instances
        assert len(found) > 0
        for name in ('keypoints', 'keypoint_scores', 'bboxes'):
            assert np.isfinite(np.asarray(found[name])).all(), name
            assert str(found[name].dtype)[-7:] in ('float32', 'float64')
