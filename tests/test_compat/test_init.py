"""Each mend of `compat`: that it works, and that it does no more."""

import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel, Sequential
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import nn

from mmpose_ext import compat
from mmpose_ext.errors import InputError

ROOT = Path(__file__).parents[2]


def run_python(*args, **env):
    """Run Python on two cores' share, with this project to be imported."""
    env = {**os.environ, 'OMP_NUM_THREADS': '1', **env}
    path = [env.get('PYTHONPATH', ''), str(ROOT)]
    env['PYTHONPATH'] = os.pathsep.join(filter(None, path))
    return subprocess.run(
        [sys.executable, *args],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )


# -- torchvision -------------------------------------------------------------

# compat alone, without the rest of the package that it makes importable.
COMPAT_ALONE = f"""
import sys, types
package = types.ModuleType('mmpose_ext')
package.__path__ = [{str(ROOT / 'mmpose_ext')!r}]
sys.modules['mmpose_ext'] = package
import torch
from mmpose_ext import compat
"""

# What torchvision's Python part does with the operators.
FAKE_KERNELS = """
import torch
for name in ('nms', 'qnms'):
    library = torch.library.Library('torchvision', 'IMPL', 'Meta')
    library.impl(name, lambda dets, scores, iou_threshold: scores)
"""


def fake_torchvision(folder, compiled=None):
    package = folder / 'torchvision'
    package.mkdir()
    (package / '__init__.py').write_text(FAKE_KERNELS)
    if isinstance(compiled, bytes):
        (package / '_C.so').write_bytes(compiled)
    elif compiled:
        (package / '_C.so').symlink_to(compiled)
    return str(folder)


def test_a_torchvision_that_does_not_fit_is_importable(tmp_path):
    path = fake_torchvision(tmp_path, b'not a shared library')
    before = run_python('-c', 'import torchvision', PYTHONPATH=path)
    assert 'torchvision::nms' in before.stderr
    after = run_python(
        '-c',
        COMPAT_ALONE + 'compat.apply(); compat.apply(); import torchvision\n'
        'boxes, scores = torch.rand(3, 4), torch.rand(3)\n'
        'torch.ops.torchvision.nms(boxes, scores, 0.5)',
        PYTHONPATH=path,
    )
    # Called, it says that it is not there, as it should.
    assert 'NotImplementedError' in after.stderr
    assert "Could not run 'torchvision::nms'" in after.stderr


def test_torchvision_that_loads_is_left_alone(tmp_path):
    # Any library that can be loaded stands for a fitting compiled part.
    path = fake_torchvision(tmp_path, torch._C.__file__)
    done = run_python(
        '-c',
        COMPAT_ALONE + 'compat.apply()\n'
        'assert torch.ops.loaded_libraries, "it was not tried"\n'
        'assert not hasattr(torch.ops.torchvision, "nms")',
        PYTHONPATH=path,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def library(monkeypatch):
    """Forget torchvision, and count the libraries that are made."""
    made = []

    class Library:
        def __init__(self, *args):
            self.schemas = []
            made.append(self)

        def define(self, schema):
            self.schemas.append(schema)

    monkeypatch.delitem(sys.modules, 'torchvision', raising=False)
    monkeypatch.setattr(compat, '_torchvision_library', None)
    monkeypatch.setattr(compat.torch.library, 'Library', Library)
    monkeypatch.setattr(compat.torch.ops, 'torchvision', object())
    return made


@pytest.mark.parametrize('compiled', [None, b'not a shared library'])
def test_missing_operators_are_declared(
    library, monkeypatch, tmp_path, compiled
):
    monkeypatch.syspath_prepend(fake_torchvision(tmp_path, compiled))
    compat._declare_torchvision_ops()
    assert compat._torchvision_library is library[0]
    assert [schema.split('(')[0] for schema in library[0].schemas] == [
        'nms',
        'qnms',
    ]


def test_nothing_is_declared_without_torchvision(library, monkeypatch):
    monkeypatch.setattr(compat.importlib.util, 'find_spec', lambda name: None)
    compat._declare_torchvision_ops()
    assert library == []


def test_nothing_is_declared_after_torchvision(library, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(fake_torchvision(tmp_path, b'broken'))
    monkeypatch.setitem(sys.modules, 'torchvision', object())
    compat._declare_torchvision_ops()
    assert library == []


@pytest.mark.slow
def test_mmpose_is_importable_after_this_package():
    done = run_python(
        '-c', 'import mmpose_ext, mmpose.apis, mmpose.visualization'
    )
    assert done.returncode == 0, done.stderr


def test_apply_again_changes_nothing(tmp_path):
    compat.apply()
    schemes = list(CheckpointLoader._schemes)
    compat.apply()
    assert list(CheckpointLoader._schemes) == schemes
    # The module still saves, and still is the torch that it was.
    path = str(tmp_path / 'a.pth')
    mmengine_checkpoint.save_checkpoint(dict(a=torch.ones(1)), path)
    assert CheckpointLoader.load_checkpoint(path) == dict(a=torch.ones(1))
    assert mmengine_checkpoint.torch.Tensor is torch.Tensor


# -- Checkpoints that do not fit the model ----------------------------------


class Network(BaseModel):
    """Of 10 tensors, 8 of the backbone; batches are not counted."""

    def __init__(self, init_cfg=None, num_keypoints=1):
        super().__init__()
        layers = [nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)]
        self.backbone = Sequential(*layers, init_cfg=init_cfg)
        self.head = nn.Linear(2, num_keypoints)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.head(inputs)


def save_weights(path, **weights):
    """The weights of a network and others, all of them ones."""
    named = {k: torch.ones_like(v) for k, v in Network().state_dict().items()}
    torch.save(dict(state_dict={**named, **weights}), path)
    return str(path)


def load_into_runner(path, model):
    work_dir = str(Path(path).parent)
    config = dict(work_dir=work_dir, experiment_name=f'run{id(model)}')
    Runner(model, **config, load_from=path).load_or_resume()


def test_weights_that_fit_are_loaded_without_a_word(tmp_path, capfd):
    path = save_weights(tmp_path / 'a.pth')
    model = Network()
    load_into_runner(path, model)
    assert all((p == 1).all() for p in model.parameters())
    assert 'were loaded from' not in capfd.readouterr().out


def test_the_first_tensors_that_are_not_loaded_are_named(tmp_path, capfd):
    path = save_weights(tmp_path / 'a.pth', **{'head.other': torch.ones(1)})
    model = Network(num_keypoints=3)
    load_into_runner(path, model)
    (line,) = [
        line
        for line in capfd.readouterr().out.splitlines()
        if 'were loaded' in line
    ]
    assert 'WARNING' in line
    assert line.endswith(
        f"8 of the 10 tensors of Network were loaded from '{path}', not "
        'head.weight, head.bias'
    )
    assert (model.backbone[0].weight == 1).all()


def test_a_classifier_is_a_pretrained_backbone(tmp_path, capfd):
    path = tmp_path / 'a.pth'
    backbone = Network().backbone.state_dict()
    torch.save({**backbone, 'fc.weight': torch.ones(9, 2)}, path)
    model = Network(dict(type='Pretrained', checkpoint=str(path)))
    model.init_weights()
    assert model.backbone[2].weight.equal(backbone['2.weight'])
    assert 'were loaded from' not in capfd.readouterr().out


@pytest.mark.parametrize(
    'make, first',
    [
        (lambda model: {'a.weight': torch.ones(1)}, r'a\.weight'),
        # Norms without a version get their count by themselves.
        (lambda model: {f'a{i}': torch.ones(1) for i in range(9)}, 'a0, a1'),
        (lambda model: {'head.weight': torch.ones(9, 9)}, r'head\.weight'),
        (lambda model: dict(model=model.state_dict()), 'model'),
    ],
)
def test_weights_none_of_which_fit_are_refused(make, first, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(make(Network()), path)
    message = (
        rf"'{path}' has none of the 10 tensors of Network, or in other "
        rf'shapes: it has {first}.*, expected backbone\.0\.weight, .*, \.\.\.'
    )
    with pytest.raises(InputError, match=message):
        load_into_runner(str(path), Network())


def test_init_cfg_that_fits_nowhere_is_refused(tmp_path):
    path = save_weights(tmp_path / 'a.pth')
    init_cfg = dict(type='Pretrained', checkpoint=path)
    model = Network(init_cfg)  # without its prefix
    with pytest.raises(
        InputError, match='none of the 8 tensors of Sequential'
    ):
        model.init_weights()
    model = Network(dict(init_cfg, prefix='neck'))
    with pytest.raises(InputError, match=rf"'{path}' .* begins with 'neck'"):
        model.init_weights()
    model = Network(dict(init_cfg, prefix='head.'))
    with pytest.raises(
        InputError, match='none of the 8 tensors of Sequential'
    ):
        model.init_weights()
    model = Network(dict(init_cfg, prefix='backbone'))
    model.init_weights()
    assert (model.backbone[2].bias == 1).all()


def test_weights_that_a_module_converts_count_as_loaded(tmp_path, capfd):
    def rename(state_dict, prefix, *_):
        for key in [k for k in state_dict if k.startswith('old.')]:
            state_dict[key.replace('old', 'head')] = state_dict.pop(key)

    model = Network()
    model._register_load_state_dict_pre_hook(rename)
    weights = {'old.weight': torch.ones(1, 2), 'old.bias': torch.ones(1)}
    torch.save(weights, tmp_path / 'a.pth')
    load_into_runner(str(tmp_path / 'a.pth'), model)
    assert '2 of the 10 tensors' in capfd.readouterr().out


# -- Distributed training without a GPU --------------------------------------

LAUNCHED = {
    'pytorch': dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0'),
    'mpi': dict(
        OMPI_COMM_WORLD_RANK='0',
        OMPI_COMM_WORLD_SIZE='1',
        OMPI_COMM_WORLD_LOCAL_RANK='0',
    ),
    'slurm': dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_LOCALID='0'),
}


@pytest.fixture
def no_launcher(monkeypatch):
    names = [name for env in LAUNCHED.values() for name in env]
    for name in (*names, 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '')  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setattr(compat, 'get_device', lambda: 'cpu')
    registered = []
    monkeypatch.setattr(compat.atexit, 'register', registered.append)
    yield registered
    for stop in registered:
        stop()


@pytest.mark.parametrize('launcher', LAUNCHED)
def test_a_group_is_started_on_the_cpu(no_launcher, monkeypatch, launcher):
    for name, value in LAUNCHED[launcher].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setenv('MASTER_PORT', '0')
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=60))))
    compat.setup_cpu_distributed(cfg, launcher)
    assert torch.distributed.get_backend() == 'gloo'
    assert os.environ['LOCAL_RANK'] == '0'  # MMEngine asks for it
    assert cfg.env_cfg.dist_cfg == dict(backend='gloo', timeout=60)
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=False,
        device_ids=None,
    )
    # A second call meets a running group.
    compat.setup_cpu_distributed(cfg, launcher)
    assert len(no_launcher) == 1
    no_launcher[0]()
    assert not torch.distributed.is_initialized()


def test_the_users_settings_are_kept(no_launcher, monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    cfg = Config(dict(model_wrapper_cfg=dict(static_graph=True)))
    compat.setup_cpu_distributed(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg == dict(static_graph=True, device_ids=None)
    cfg = Config(dict(find_unused_parameters=True))
    compat.setup_cpu_distributed(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg.find_unused_parameters
    monkeypatch.undo()


@pytest.mark.parametrize(
    'launcher, device', [('none', 'cpu'), ('pytorch', 'cuda'), ('mpi', 'npu')]
)
def test_nothing_is_done_elsewhere(no_launcher, monkeypatch, launcher, device):
    monkeypatch.setattr(compat, 'get_device', lambda: device)
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl'))))
    compat.setup_cpu_distributed(cfg, launcher)
    assert cfg.to_dict() == dict(env_cfg=dict(dist_cfg=dict(backend='nccl')))
    assert not torch.distributed.is_initialized()


def test_a_missing_launcher_is_named(no_launcher, monkeypatch):
    with pytest.raises(InputError, match='RANK, WORLD_SIZE, LOCAL_RANK'):
        compat.setup_cpu_distributed(Config(), 'pytorch')
    with pytest.raises(InputError, match="'torchrun' is unknown"):
        compat.setup_cpu_distributed(Config(), 'torchrun')


TRAIN = """
import sys
import torch
from mmengine.config import Config
from mmengine.dist import all_gather
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpose_ext.compat.checkpoint_file import load_checkpoint
from mmpose_ext.compat import setup_cpu_distributed

class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x, mode):
        return dict(loss=self.layer(x).square().mean())

cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=60))))
setup_cpu_distributed(cfg, 'pytorch')
runner = Runner(
    Model(),
    work_dir=sys.argv[1],
    cfg=cfg,
    launcher='pytorch',
    train_dataloader=dict(
        dataset=[dict(x=torch.tensor([i / 9])) for i in range(10)],
        sampler=dict(type='DefaultSampler'), batch_size=1, num_workers=0,
        collate_fn=dict(type='default_collate')),
    train_cfg=dict(by_epoch=True, max_epochs=1),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    custom_hooks=[dict(type='RandomStateHook')],
    randomness=dict(seed=0, diff_rank_seed=True),
)
model = runner.train()
weights = all_gather(model.module.layer.weight.detach())
assert torch.isfinite(weights[0]).all()
assert weights[0].equal(weights[1]) and len(weights) == 2
assert runner.iter == 5
states = load_checkpoint(sys.argv[1] + '/epoch_1.pth')['random_states']
assert len(states) == 2 and not states[0]['torch'].equal(states[1]['torch'])
print('trained', flush=True)
"""


@pytest.mark.slow
def test_two_processes_train_on_the_cpu(tmp_path):
    script = tmp_path / 'train.py'
    script.write_text(TRAIN)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    done = run_python(
        *('-m', 'torch.distributed.run', '--nproc_per_node', '2'),
        *('--master_port', str(port), str(script), str(tmp_path / 'work')),
        CUDA_VISIBLE_DEVICES='-1',
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('trained') == 2
    assert 'destroy_process_group' not in done.stderr


# -- Mixed precision ---------------------------------------------------------


def test_bfloat16_becomes_float32_for_numpy():
    from mmpose.models.heads import base_head
    from mmpose.utils import tensor_utils

    to_numpy = tensor_utils.to_numpy
    assert base_head.to_numpy is to_numpy
    half = torch.tensor([[1.5, -2.25], [0.0, 3.0]], dtype=torch.bfloat16)
    array = to_numpy(half)
    assert array.dtype == np.float32
    assert array.tolist() == [[1.5, -2.25], [0.0, 3.0]]
    array, device = to_numpy(half, return_device=True)
    assert array.dtype == np.float32 and device == torch.device('cpu')
    pairs = to_numpy((half, half.double()), unzip=True)
    assert [a.dtype for a in pairs[0]] == [np.float32, np.float64]
    assert pairs[1][0].tolist() == [[0.0, 3.0]]
    assert [a.dtype for a in to_numpy([half, half.half()])] == [
        np.float32,
        np.float16,
    ]
    given = np.ones(2)
    assert to_numpy(given) is given

    compat.apply()
    assert tensor_utils.to_numpy is to_numpy


def test_heads_that_were_imported_before_convert_it_too(monkeypatch):
    from mmpose.models.heads import base_head
    from mmpose.utils import tensor_utils

    original = tensor_utils.to_numpy.__wrapped__
    for module in (tensor_utils, base_head):
        monkeypatch.setattr(module, 'to_numpy', original)
    compat._convert_bfloat16_to_numpy()
    assert base_head.to_numpy is tensor_utils.to_numpy is not original


@pytest.mark.parametrize('kind', ['DCN', 'DCNv2'])
def test_deformable_convolutions_take_bfloat16(kind):
    pytest.importorskip('mmcv.ops')
    from mmcv.cnn import build_conv_layer

    torch.manual_seed(0)
    conv = build_conv_layer(
        dict(type=kind, deform_groups=1), 4, 4, 3, padding=1
    )
    conv.conv_offset.weight.data.normal_(0, 0.1)
    x = torch.randn(2, 4, 6, 6)
    grads, outputs = [], []
    for enabled in (False, True):
        maps = x.clone().requires_grad_()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            # What comes before gives bfloat16, as a convolution does.
            out = conv(maps.bfloat16() if enabled else maps)
        out.float().square().sum().backward()
        outputs.append(out.float())
        grads.append(maps.grad)
    for a, b in (outputs, grads):
        assert 0 < (a - b).norm() < 0.1 * a.norm()


def test_rois_and_nms_take_bfloat16():
    pytest.importorskip('mmcv.ops')
    from mmcv.ops import batched_nms, roi_align

    maps = torch.arange(64.0).reshape(1, 1, 8, 8)
    rois = torch.tensor([[0, 1.0, 1, 5, 5]])
    plain = roi_align(maps, rois, 2, 1.0, 0, 'avg', True)
    half = roi_align(maps.bfloat16(), rois.bfloat16(), 2, 1.0, 0, 'avg', True)
    assert half.float().flatten().tolist() == plain.flatten().tolist()

    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12.0]])
    scores = torch.tensor([0.5, 0.75, 0.25], dtype=torch.bfloat16)
    _, kept = batched_nms(
        boxes, scores, torch.zeros(3), dict(type='nms', iou_threshold=0.5)
    )
    assert kept.tolist() == [1, 2]


def test_dense_heads_predict_boxes_in_float32():
    """An anchor at 500 px is known to less than a pixel."""
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS

    import mmpose_ext.multitask  # noqa: F401

    config = dict(
        type='RPNHead',
        in_channels=4,
        feat_channels=4,
        anchor_generator=dict(
            type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[5]
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        test_cfg=ConfigDict(
            nms_pre=200,
            max_per_img=200,
            nms=dict(type='nms', iou_threshold=1.0),
            min_bbox_size=0,
        ),
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(config)
    scores = torch.zeros(1, 1, 1, 150, dtype=torch.bfloat16)
    deltas = torch.zeros(1, 4, 1, 150, dtype=torch.bfloat16)
    meta = dict(img_shape=(9, 900), scale_factor=(1, 1))
    (found,) = head.predict_by_feat([scores], [deltas], batch_img_metas=[meta])
    assert found.bboxes.dtype == found.scores.dtype == torch.float32
    # Anchors of 5 px are around multiples of 5 px, and cut at the border.
    left = found.bboxes[:, 0].sort().values
    assert left.tolist() == [max(0, 5 * i - 2.5) for i in range(150)]


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_amp_without_a_gpu():
    from mmengine.optim import AmpOptimWrapper

    layer = torch.nn.Linear(3, 1)
    sgd = torch.optim.SGD(layer.parameters(), lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        wrapper = AmpOptimWrapper(optimizer=sgd, dtype='bfloat16')
    before = layer.bias.item()
    with wrapper.optim_context(layer):
        out = layer(torch.ones(2, 3))
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().mean())
    assert layer.bias.item() == pytest.approx(before - 1)
    assert layer.weight.dtype == torch.float32
    wrapper.load_state_dict(wrapper.state_dict())


# -- Thin images -------------------------------------------------------------


def test_thin_images_keep_a_pixel():
    from mmcv.image import imrescale, rescale_size

    assert rescale_size((3000, 1), (1333, 800)) == (1333, 1)
    assert rescale_size((1, 3000), 0.1) == (1, 300)
    assert rescale_size((30, 20), 0.5) == (15, 10)
    image = np.full((2, 2000, 3), 7, dtype=np.uint8)
    small, factor = imrescale(image, (256, 192), return_scale=True)
    assert small.shape == (1, 256, 3)
    assert factor == 256 / 2000
    assert (small == 7).all()
