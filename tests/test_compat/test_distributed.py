"""Distributed training without a GPU."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmpose_ext.compat import distributed, setup_cpu_distributed
from mmpose_ext.errors import InputError

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
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    registered = []
    monkeypatch.setattr(distributed.atexit, 'register', registered.append)
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
    setup_cpu_distributed(cfg, launcher)
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
    setup_cpu_distributed(cfg, launcher)
    assert len(no_launcher) == 1
    no_launcher[0]()
    assert not torch.distributed.is_initialized()


def test_the_users_settings_are_kept(no_launcher, monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    cfg = Config(dict(model_wrapper_cfg=dict(static_graph=True)))
    setup_cpu_distributed(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg == dict(static_graph=True, device_ids=None)
    cfg = Config(dict(find_unused_parameters=True))
    setup_cpu_distributed(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg.find_unused_parameters
    monkeypatch.undo()


@pytest.mark.parametrize(
    'launcher, device', [('none', 'cpu'), ('pytorch', 'cuda'), ('mpi', 'npu')]
)
def test_nothing_is_done_elsewhere(no_launcher, monkeypatch, launcher, device):
    monkeypatch.setattr(distributed, 'get_device', lambda: device)
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl'))))
    setup_cpu_distributed(cfg, launcher)
    assert cfg.to_dict() == dict(env_cfg=dict(dist_cfg=dict(backend='nccl')))
    assert not torch.distributed.is_initialized()


def test_a_missing_launcher_is_named(no_launcher, monkeypatch):
    with pytest.raises(InputError, match='RANK, WORLD_SIZE, LOCAL_RANK'):
        setup_cpu_distributed(Config(), 'pytorch')
    with pytest.raises(InputError, match="'torchrun' is unknown"):
        setup_cpu_distributed(Config(), 'torchrun')


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
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'torch.distributed.run'),
            *('--nproc_per_node', '2', '--master_port', str(port)),
            *(str(script), str(tmp_path / 'work')),
        ],
        env=dict(
            os.environ,
            PYTHONPATH=str(Path(__file__).parents[2]),
            OMP_NUM_THREADS='1',
            CUDA_VISIBLE_DEVICES='-1',
        ),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('trained') == 2
    assert 'destroy_process_group' not in done.stderr
