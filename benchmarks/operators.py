"""mmcv's operators: ours, its compiled ones, and what calls them."""

import importlib
import sys
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, DefaultScope

from mmpose_ext.compat import operators
from mmpose_ext.engine.config import load_config

from .measure import Call, NotInstalled

KINDS = ('operators', 'mmcv-operators')


def load_operators(kind: str, what: str, batch: int = 1, **_: Any) -> Call:
    """``nms``, ``roi_align``, or a training step of a config of MMDet's."""
    use_operators(kind)
    if what == 'nms':
        return _nms()
    return _roi_align() if what == 'roi_align' else _train(what, batch)


def use_operators(kind: str) -> None:
    """Let mmcv call ours or its own, which must be there, in this process."""
    import mmcv.ops  # noqa: F401

    extension = operators
    if kind == 'mmcv-operators':
        extension = importlib.import_module('mmcv._ext')
        if extension is operators:
            raise NotInstalled(f'{kind} needs a compiled mmcv')
    for name, module in list(sys.modules.items()):
        if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
            module.ext_module = extension


def _boxes(number: int) -> torch.Tensor:
    """Boxes of 16 to 272 px on an image of 800 x 1344 px."""
    start = torch.rand(number, 2) * torch.tensor([1072, 528])
    return torch.cat([start, start + 16 + 256 * torch.rand(number, 2)], 1)


def _nms() -> Call:
    from mmcv.ops import nms

    boxes, scores = _boxes(1000), torch.rand(1000)
    return Call(lambda: nms(boxes, scores, 0.5))


def _roi_align() -> Call:
    """7 x 7 bins of 512 RoIs on the maps of two images, and gradients."""
    from mmcv.ops import RoIAlign

    layer = RoIAlign(7, spatial_scale=1 / 16, sampling_ratio=0)
    maps = torch.rand(2, 256, 50, 84, requires_grad=True)
    rois = torch.cat([torch.arange(512)[:, None] % 2, _boxes(512)], 1)
    direction = torch.rand(512, 256, 7, 7)
    return Call(lambda: layer(maps, rois).backward(direction), grad=True)


def _train(config: str, batch: int) -> Call:
    """A step with samples of the training data, from which no other learns."""
    cfg = load_config(config)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        model = MODELS.build(cfg.model)
        optimizer = build_optim_wrapper(model.train(), cfg.optim_wrapper)
    data = pseudo_collate([dataset[i] for i in range(batch)])
    return Call(lambda: model.train_step(data, optimizer), batch, grad=True)
