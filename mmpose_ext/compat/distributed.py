"""Distributed training without a GPU."""

import atexit
import datetime
import os
from typing import Dict

import torch
from mmengine.config import Config
from mmengine.device import get_device

from ..errors import InputError

# Where each launcher tells a process its place.
_LAUNCHERS = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'mpi': (
        'OMPI_COMM_WORLD_RANK',
        'OMPI_COMM_WORLD_SIZE',
        'OMPI_COMM_WORLD_LOCAL_RANK',
    ),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
}


def setup_cpu_distributed(cfg: Config, launcher: str) -> None:
    """Start the processes' group on the CPU, and fit a config to it.

    MMEngine picks a CUDA device for every process whether there is one or
    not, both when it starts the group, which it leaves when one runs, and
    when it wraps the model, where a config decides. Nothing is done where
    MMEngine would use another device than the CPU.

    Args:
        cfg: The config of the run, changed in place: the wrapper of the
            model gets no device, the backend becomes gloo.
        launcher: 'none', 'pytorch', 'mpi' or 'slurm'.

    Raises:
        InputError: if a variable that the launcher sets is missing from the
            environment.
    """
    if launcher == 'none' or get_device() != 'cpu':
        return
    if not torch.distributed.is_initialized():
        _start_gloo(launcher, cfg.get('env_cfg', {}).get('dist_cfg', {}))
    cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})

    # MMEngine's own choices, of which a config replaces all.
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper.setdefault('device_ids', None)
    cfg.model_wrapper_cfg = wrapper


def _start_gloo(launcher: str, dist_cfg: Dict) -> None:
    if launcher not in _LAUNCHERS:
        raise InputError(
            f"launcher '{launcher}' is unknown, expected 'none' or one of "
            f'{", ".join(_LAUNCHERS)}'
        )
    env = os.environ
    env.setdefault('MASTER_PORT', '29500')  # torch's and MMEngine's default
    theirs = _LAUNCHERS[launcher]
    missing = [name for name in (*theirs, 'MASTER_ADDR') if name not in env]
    if missing:
        raise InputError(
            f"launcher '{launcher}' sets {', '.join(missing)} in the "
            'environment, which are missing; was the program started by it?'
        )
    for ours, their in zip(_LAUNCHERS['pytorch'], theirs):
        env[ours] = env[their]
    kwargs = {}
    if dist_cfg.get('timeout') is not None:  # in seconds, as for MMEngine
        kwargs['timeout'] = datetime.timedelta(seconds=dist_cfg['timeout'])
    torch.distributed.init_process_group('gloo', **kwargs)
    atexit.register(_stop_group)


def _stop_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
