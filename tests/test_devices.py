"""All families on tensors that claim to be on a CUDA device.

Nothing may mix tensors of two devices, and a training step should not wait
for the device in code of ours, but once per head where it has to.
"""

import copy
import importlib
import random
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from claimed_device import PACKAGES, ClaimedDevice, opaque
from mmdet.models.backbones import ResNet
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, MODELS, DefaultScope
from small_models import thin
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from mmpose_ext.engine.tta import use_tta

CONFIGS = Path(__file__).parents[1] / 'configs'
FAMILIES = {
    'ram_gpr': 'ram-gpr_hrnet-w16_1xb8-15e_toy-persons-128x96',
    'psm': 'psm_hrnet-w8_1xb8-10e_toy-persons-128x96',
    'gccpm': 'gccpm-2stage_ushape_mobilenet-v1-w0.5_1xb8-12e_toy-lip-128x128',
    'logocap': 'logocap_hrnet-w16_1xb4-20e_toy-persons-192x192',
    'multitask_rcnn': (
        'multitask-rcnn-rbh_r50-w16-dcn_fpn-c3c5_1xb4-10e_toy-persons-256x192'
    ),
}
TOP_DOWN = ['ram_gpr', 'psm', 'gccpm']
POSE = [*TOP_DOWN, 'logocap']
# Where a training step waits for the device, in code of ours: how many poses
# or RoIs there are to learn from, and the maps that MMPose's accuracy, which
# is NumPy's, is computed from.
WAITS = {
    'ram_gpr': {},
    'psm': {},
    'gccpm': {'mmpose_ext/models/heads/gccpm_head.py:_accuracy': 1},
    'logocap': {'mmpose_ext/models/heads/logocap_targets.py:match_poses': 1},
    'multitask_rcnn': {
        'mmpose_ext/multitask/multitask_roi_head.py:keypoint_loss': 1
    },
}


# -- The tester itself --------------------------------------------------------


def run(function):
    """Run on a tensor of the device, 0 to 5, and one of the CPU."""
    with ClaimedDevice() as device:
        x = device.claim(torch.arange(6.0).view(2, 3))
        function(x, torch.ones(2, 3))
    return device


MIXES = {
    'sum': lambda x, c: x + c,
    'sum, other order': lambda x, c: c + x,
    'sum with a number of the device': lambda x, c: c + x.sum(),
    'product': lambda x, c: x @ c.T,
    'cat': lambda x, c: torch.cat([x, c]),
    'stack of numbers': lambda x, c: torch.stack([x.sum(), c.sum()]),
    'gather': lambda x, c: x.gather(1, c.long()),
    'where': lambda x, c: torch.where(c > 0, x, 0),
    'mask of the CPU': lambda x, c: x.masked_fill_(c > 0, 0),
    'values of the CPU': lambda x, c: x.index_put_((x > 2,), c[0]),
    'in place': lambda x, c: c.sum().add_(x.sum()),
    'inside a function': lambda x, c: F.mse_loss(x, c),
    'constant': lambda x, c: x * torch.tensor([1.0, 2, 3]),
    'new tensor on the CPU': lambda x, c: x + torch.arange(3),
    'of a view': lambda x, c: x.T[1:] + c.T[1:],
    'of a copy': lambda x, c: copy.deepcopy(x).clone() + c,
    'after a move to the CPU': lambda x, c: x.cpu() + x,
    'after a move to the device': lambda x, c: c.to(x) + c,
    'norm': lambda x, c: nn.BatchNorm1d(3)(x),
    'numpy': lambda x, c: x.numpy(),
    'array': lambda x, c: np.asarray(x),
}


@pytest.mark.parametrize('name', MIXES)
def test_planted_mixes_are_found(name):
    device = run(MIXES[name])
    assert len(device.mixes) >= 1
    assert device.mixes[0].endswith('in test_devices.py:<lambda>')


WAITING = {
    'item': ('value', lambda x, c: x.sum().item()),
    'bool': ('value', lambda x, c: 1 if x.isfinite().all() else 0),
    'float': ('value', lambda x, c: float(x[0, 0])),
    'index of a list': ('value', lambda x, c: [1, 2][x[0, 0].long()]),
    'range': ('value', lambda x, c: range(x[0, 1].long())),
    'tolist': ('value', lambda x, c: x.tolist()),
    'equal': ('value', lambda x, c: torch.equal(x, x)),
    'cpu': ('copy', lambda x, c: x.cpu().numpy()),
    'to cpu': ('copy', lambda x, c: x.to('cpu', torch.double)),
    'copy to the CPU': ('copy', lambda x, c: c.copy_(x)),
    'nonzero': ('size', lambda x, c: x.nonzero()),
    'where': ('size', lambda x, c: torch.where(x > 2)),
    'mask': ('size', lambda x, c: x[x > 2]),
    'masked_select': ('size', lambda x, c: x.masked_select(x > 2)),
    'values at a mask': ('size', lambda x, c: set_at(x, x > 2, x[0, :1] + 1)),
    'unique': ('size', lambda x, c: x.unique()),
    'repeat': ('size', lambda x, c: x.repeat_interleave(x[:, 0].long(), 0)),
    'index of the CPU': ('copy', lambda x, c: x[torch.tensor([1, 0])]),
    'list as an index': ('copy', lambda x, c: x[:, [1, 0]]),
    'tensor': ('copy', lambda x, c: torch.tensor([1.0], device=x.device)),
    'new_tensor': ('copy', lambda x, c: x.new_tensor([1.0])),
    'as_tensor': (
        'copy',
        lambda x, c: torch.as_tensor(np.ones(2), device=x.device),
    ),
    'to': ('copy', lambda x, c: torch.from_numpy(np.ones(2)).to(x)),
    'to device': ('copy', lambda x, c: c.to('cuda:0', torch.double)),
    'cuda': ('copy', lambda x, c: c.cuda()),
    'part': ('copy', lambda x, c: set_at(x, slice(1), c[:1])),
}


def set_at(x, index, value):
    x[index] = value


@pytest.mark.parametrize('name', WAITING)
def test_planted_waits_are_found(name):
    why, function = WAITING[name]
    device = run(function)
    assert device.mixes == []
    assert [wait.why for wait in device.waits] == [why]
    assert device.waits[0].where in (
        'test_devices.py:<lambda>',
        'test_devices.py:set_at',
    )
    assert not device.waits[0].backward


def test_waits_of_the_backward_pass_are_those_of_the_forward_pass():
    def planted(x):
        return x[x > 2]

    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        device = run(lambda x, c: planted(x.requires_grad_()).sum().backward())
    assert device.waits == [
        ('size', 'test_devices.py:planted', False),
        ('size', 'test_devices.py:planted', True),
    ]


def test_what_devices_do_without_waiting():
    def allowed(x, c):
        assert x.is_cuda and not x.is_cpu and x.device.type == 'cuda'
        assert not c.is_cuda and c.is_cpu and c.device.type == 'cpu'
        assert (x.get_device(), c.get_device()) == (0, -1)
        made = (
            torch.arange(3, device=x.device),
            torch.zeros_like(x),
            torch.zeros_like(c, device='cuda'),
            x.new_zeros(2),
            c.new_zeros(2, device=x.device),
            copy.deepcopy(x),
            nn.utils.rnn.pad_sequence([x, x]),
            F.interpolate(x[None], scale_factor=2.0),
            x.to(torch.double),
            x.to(x),
            x.cuda(),
            x.sum(),
            c.to('cuda', non_blocking=True),
            c.to(x, non_blocking=True),
            torch.as_tensor(x),
        )
        assert all(y.is_cuda for y in made)
        stay = torch.zeros_like(x, device='cpu'), c.to('cpu'), c.double()
        assert not any(y.is_cuda for y in stay)
        # Numbers, Python's and the CPU's, indices and masks of the device.
        x * 2 + torch.tensor(3.0)
        torch.where(x > 2, x, 0)
        x[0], x[..., 1:], x[None], x[x[:, 0].long() * 0]
        set_at(x, x > 4, 4.0)
        set_at(x, 0, 1)
        x.masked_fill_(x > 3, 3)
        x.clamp(min=0).max(dim=1)
        x.topk(2), x.sort(), x.argmax()
        optimizer = torch.optim.Adam([x.clone().requires_grad_()])
        optimizer.param_groups[0]['params'][0].grad = x
        optimizer.step()

    device = run(allowed)
    assert device.mixes == [] and device.waits == []


def test_compiled_functions_are_opaque():
    import types

    module = types.ModuleType('compiled')
    module.add = lambda a, b: a + b
    module.nms = lambda boxes: boxes.nonzero()
    original = module.add
    with ClaimedDevice() as device, opaque(device, module):
        x = device.claim(torch.ones(2))
        assert module.add(x, x).is_cuda and module.nms(x).is_cuda
        assert not module.add(torch.ones(2), torch.ones(2)).is_cuda
        assert device.mixes == [] and len(device.waits) == 1
        module.add(x, torch.ones(2))
    (mix,) = device.mixes
    assert mix.endswith(
        'in test_devices.py:test_compiled_functions_are_opaque'
    )
    assert module.add is original


# -- The families -------------------------------------------------------------


class Family:
    """Data of a family, and its models, with random weights."""

    def __init__(self, name, root):
        self.waits = WAITS[name]
        cfg = Config.fromfile(CONFIGS / name / f'{FAMILIES[name]}.py')
        cfg = replace(cfg.to_dict(), 'data/toy_persons', str(root))
        thin(cfg['model'])
        self.cfg = Config(cfg)

    def batch(self, split='test'):
        dataset = DATASETS.build(self.cfg[f'{split}_dataloader'].dataset)
        self.metainfo = dataset.metainfo
        seed()
        return pseudo_collate([dataset[1], dataset[2]])

    def models(self, **cfg):
        """A model, and one that makes the same on the CPU."""
        cfg = {**self.cfg.model, **cfg}
        seed()
        model = MODELS.build(cfg)
        model.init_weights()
        # What SampledDCN is on a device.
        twin = MODELS.build(ConfigDict(replace(cfg, 'SampledDCN', 'DCN')))
        twin.load_state_dict(model.state_dict())
        return model, twin

    def test(self, model, batch):
        """Predictions, after they have been evaluated."""
        evaluator = Evaluator(self.cfg.test_evaluator)
        evaluator.dataset_meta = self.metainfo
        with torch.no_grad():
            results = model.test_step(copy.deepcopy(batch))
        evaluator.process(results, batch)
        assert evaluator.evaluate(len(results))
        return results


def replace(cfg, old, new):
    """A config with other text in it."""
    if isinstance(cfg, dict):
        return {k: replace(v, old, new) for k, v in cfg.items()}
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(replace(v, old, new) for v in cfg)
    return cfg.replace(old, new) if isinstance(cfg, str) else cfg


def seed():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@contextmanager
def claiming(model):
    """Let a model be on the device, with mmcv's operators."""
    extension = importlib.import_module('mmcv._ext')
    with ClaimedDevice() as device, opaque(device, extension):
        device.claim(model)
        yield device


@pytest.fixture(params=FAMILIES)
def family(request, toy_persons, mmpose_scope, monkeypatch):
    block, _ = ResNet.arch_settings[50]
    monkeypatch.setitem(ResNet.arch_settings, 50, (block, (1, 1, 1, 1)))
    family = Family(request.param, toy_persons)
    scope = family.cfg.get('default_scope', 'mmpose')
    with DefaultScope.overwrite_default_scope(scope):
        yield family


def train(model, batch):
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    seed()
    return model.train_step(copy.deepcopy(batch), OptimWrapper(optimizer))


def test_training_step(family):
    model, twin = family.models()
    batch = family.batch('train')
    expected = train(twin.train(), batch)
    with claiming(model.train()) as device:
        losses = train(model, batch)
        trained = copy.deepcopy(model.state_dict())
        # Constants have been copied to the device.
        device.waits.clear()
        with torch.autograd.set_detect_anomaly(True, check_nan=False):
            train(model, batch)
    assert device.mixes == []
    assert device.count('mmpose_ext') == family.waits
    # The others' are not ours to change, but -s shows them.
    for package in PACKAGES:
        print(package, dict(device.count(package)))
    # And the numbers are those of the CPU.
    assert_close(losses, expected)
    assert_close(trained, twin.state_dict())


def check_prediction(family, **cfg):
    batch = family.batch()
    model, twin = family.models(**cfg)
    expected = family.test(twin.eval(), batch)
    with claiming(model.eval()) as device:
        results = family.test(model, batch)
    assert device.mixes == []
    for result, other in zip(results, expected):
        result, other = result.pred_instances, other.pred_instances
        assert len(result) >= 1
        assert set(result.keys()) == set(other.keys())
        for name, value in result.items():
            # With such weights, masks are all at their threshold.
            if name != 'masks':
                np.testing.assert_allclose(value, other[name], atol=1e-4)


def test_prediction_and_metrics(family):
    check_prediction(family)


@pytest.mark.parametrize('family', POSE, indirect=True)
def test_fused_flip(family):
    family.cfg.model.test_cfg.flip_test = True
    check_prediction(family, type=f'FusedFlip{family.cfg.model.type}')


@pytest.mark.parametrize('family', TOP_DOWN, indirect=True)
def test_tta(family):
    use_tta(family.cfg)
    check_prediction(family)


@pytest.mark.parametrize('family', ['psm'], indirect=True)
def test_what_is_planted_in_a_network_is_found(family):
    model, _ = family.models()

    def plant(module, args, maps):
        bias = torch.zeros(maps[0].shape[-1])
        return (maps[0] + bias + maps[0].max().item(),)

    model.backbone.register_forward_hook(plant)
    with claiming(model) as device:
        train(model, family.batch('train'))
    (mix,) = device.mixes
    assert mix.endswith('in test_devices.py:plant')
    assert device.count('test_devices.py') == {'test_devices.py:plant': 1}
