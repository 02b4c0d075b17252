"""The one place that knows what other packages break, and mends it.

:func:`apply` runs when ``mmpose_ext`` is imported and mends what every user
meets, :func:`check_annotations` after it; :func:`setup_cpu_distributed` is
for the tools. Each does nothing where nothing is broken.
"""

import atexit
import datetime
import functools
import importlib.machinery
import importlib.util
import inspect
import logging
import os
import sys
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from torch import nn

from .checkpoint_file import last_loaded, load_for_mmengine, load_url
from .errors import InputError


def apply() -> None:
    """Mend what is broken; a second call changes nothing.

    To be called before anything imports torchvision, which MMPose does.
    """
    _declare_torchvision_ops()
    _load_checkpoints_safely()
    _run_no_config_of_checkpoints()
    _report_what_is_loaded()
    _convert_bfloat16_to_numpy()
    _run_operators_in_float32()
    _allow_amp_on_cpu()
    _keep_thin_images()


# -- A torchvision whose compiled part does not fit torch --------------------

# Declarations live as long as the library that made them.
_torchvision_library: Optional[torch.library.Library] = None


def _declare_torchvision_ops() -> None:
    """Let torchvision be imported where its compiled part cannot load.

    A CPU build of torch beside a CUDA build of torchvision is the usual
    case. Torchvision's Python part then gives two operators a fake kernel
    although only the compiled part would have declared them, and the import
    ends in ``operator torchvision::nms does not exist``. Declared, they can
    be imported; called, they say that they have no kernel.

    On Windows the compiled part needs folders that only torchvision itself
    adds to the search path, so whether it loads cannot be told from here.
    """
    global _torchvision_library
    if 'torchvision' in sys.modules or sys.platform == 'win32':
        return
    package = importlib.util.find_spec('torchvision')
    if package is None or not package.submodule_search_locations:
        return
    compiled = importlib.machinery.PathFinder.find_spec(
        '_C', list(package.submodule_search_locations)
    )
    try:
        if compiled is not None:
            torch.ops.load_library(compiled.origin)
    except OSError:  # as torchvision takes it: the operators stay unknown
        compiled = None
    if compiled is None and not hasattr(torch.ops.torchvision, 'nms'):
        library = torch.library.Library('torchvision', 'FRAGMENT')
        for name in ('nms', 'qnms'):
            library.define(
                f'{name}(Tensor dets, Tensor scores, float iou_threshold)'
                ' -> Tensor'
            )
        _torchvision_library = library


# -- Checkpoints that are not only tensors -----------------------------------


class _TorchWithSafeLoad:
    """``torch`` for the module whose every ``torch.load`` is to be safe."""

    load = staticmethod(load_for_mmengine)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _load_checkpoints_safely() -> None:
    """Let MMEngine load, and resume from, what MMEngine saves.

    Since torch 2.6 its own loader refuses every checkpoint that holds a
    history of logged values or a numpy array; before, and for downloads to
    this day, it runs whatever a file tells it to.
    """
    from mmengine.runner import checkpoint

    # MMEngine says by the name of a loader where it loads from.
    def load_from_local(filename: str, map_location: Any) -> dict:
        return load_for_mmengine(filename, map_location)

    checkpoint.CheckpointLoader.register_scheme(
        prefixes='', loader=load_from_local, force=True
    )
    # The loaders of the other schemes (http, torchvision, open-mmlab, s3,
    # ...) call each other and end in one of these two.
    checkpoint.load_url = load_url
    checkpoint.torch = _TorchWithSafeLoad()


def _run_no_config_of_checkpoints() -> None:
    """Let MMEngine's inferencers run no config that a checkpoint carries.

    Given weights alone they take the text of a config from the file and run
    it as Python.
    """
    from mmengine.infer import BaseInferencer

    original = BaseInferencer._init_model
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def init_model(
        self: Any, cfg: Any, weights: Optional[str], device: str = 'cpu'
    ) -> nn.Module:
        if not cfg:
            raise InputError(
                f"'{weights}' is given without a config, and the one that a "
                'checkpoint carries is a program that is not run: give one'
            )
        return original(self, cfg, weights, device)

    BaseInferencer._init_model = init_model


# -- Checkpoints that do not fit the model ----------------------------------

_SHOWN = 3


def _report_what_is_loaded() -> None:
    """Let MMEngine refuse weights none of which fit, and count those that do.

    By itself it goes on with random weights; what it warns of, the names of
    all tensors that do not fit, fills screens also where most of them do.
    """
    from mmengine.runner import checkpoint

    load_state_dict = inspect.unwrap(checkpoint.load_state_dict)
    load_with_prefix = inspect.unwrap(checkpoint._load_checkpoint_with_prefix)

    @functools.wraps(load_state_dict)
    def load_and_count(
        module: nn.Module,
        state_dict: Mapping,
        strict: bool = False,
        logger: Any = None,
    ) -> None:
        before = _versions(module)
        load_state_dict(module, state_dict, strict, logger)
        after = _versions(module)
        missed = [key for key in before if after[key] == before[key]]
        _report(module, list(before), missed, list(state_dict))

    @functools.wraps(load_with_prefix)
    def load_named_prefix(
        prefix: str, filename: str, map_location: Any = None
    ) -> dict:
        try:
            return load_with_prefix(prefix, filename, map_location)
        except AssertionError as e:
            raise InputError(
                f"no weight of checkpoint '{filename}' has a name that begins "
                f"with '{prefix}', the prefix of init_cfg"
            ) from e

    checkpoint.load_state_dict = load_and_count
    checkpoint._load_checkpoint_with_prefix = load_named_prefix


def _versions(module: nn.Module) -> Dict[str, tuple]:
    """Something that changes with each tensor that is loaded.

    That is not told by the names: modules convert older weights.
    """
    # Norms count batches from 0 where a checkpoint has no count.
    return {
        key: (id(tensor), tensor._version)
        for key, tensor in module.state_dict(keep_vars=True).items()
        if isinstance(tensor, torch.Tensor)
        and not key.endswith('num_batches_tracked')
    }


def _report(
    module: nn.Module, keys: List[str], missed: List[str], given: List[str]
) -> None:
    name = type(module).__name__
    source = getattr(last_loaded, 'name', '')
    if keys and len(missed) == len(keys):
        raise InputError(
            f"checkpoint '{source}' has none of the {len(keys)} tensors of "
            f'{name}, or in other shapes: it has {_shorten(given)}, expected '
            f'{_shorten(keys)}'
        )
    if missed:
        print_log(
            f'{len(keys) - len(missed)} of the {len(keys)} tensors of {name} '
            f"were loaded from '{source}', not {_shorten(missed)}",
            logger='current',
            level=logging.WARNING,
        )


def _shorten(keys: List[str]) -> str:
    more = ', ...' if len(keys) > _SHOWN else ''
    return ', '.join(keys[:_SHOWN]) + more


# -- Annotation files --------------------------------------------------------


def check_annotations() -> None:
    """Let MMPose's datasets and metrics read annotations by our rules.

    By itself it takes the last of two images of one id, normalised
    coordinates, corners of boxes and much else for what it looks like, and
    trains on it or evaluates with it without a word.
    """
    from .engine.checks.coco.api import read_strictly_in_mmpose

    read_strictly_in_mmpose()


# -- Mixed precision ---------------------------------------------------------


def _from_bfloat16(x: Any) -> Any:
    """bfloat16 tensors in float32, which holds their values exactly."""
    if isinstance(x, list):
        return [_from_bfloat16(item) for item in x]
    is_bfloat16 = isinstance(x, torch.Tensor) and x.dtype == torch.bfloat16
    return x.float() if is_bfloat16 else x


def _convert_bfloat16_to_numpy() -> None:
    """Let MMPose convert tensors of a type that numpy does not have.

    Its heads convert their outputs to decode them and, in training, to
    compute the accuracy.
    """
    from mmpose.utils import tensor_utils

    original = tensor_utils.to_numpy
    if hasattr(original, '__wrapped__'):
        return

    # It converts the items of sequences by the name that is replaced here.
    @functools.wraps(original)
    def to_numpy(
        x: Any, return_device: bool = False, unzip: bool = False
    ) -> Any:
        return original(_from_bfloat16(x), return_device, unzip)

    tensor_utils.to_numpy = to_numpy
    # Where MMPose was imported first, its heads have the old one by name.
    for name, module in list(sys.modules.items()):
        if name.startswith('mmpose.') and (
            getattr(module, 'to_numpy', None) is original
        ):
            module.to_numpy = to_numpy


def _run_operators_in_float32() -> None:
    """Let mmcv's compiled operators take bfloat16, which they do not have."""
    try:
        from mmcv.ops.deform_conv import DeformConv2dFunction
        from mmcv.ops.modulated_deform_conv import (
            ModulatedDeformConv2dFunction,
        )
        from mmcv.ops.nms import NMSop
        from mmcv.ops.roi_align import RoIAlignFunction
    except ImportError:  # mmcv without its compiled part
        return
    for function in (
        NMSop,
        RoIAlignFunction,
        DeformConv2dFunction,
        ModulatedDeformConv2dFunction,
    ):
        if not hasattr(function.forward, '__wrapped__'):
            function.forward = staticmethod(_in_float32(function.forward))


def keep_boxes_in_float32() -> None:
    """Let MMDet's dense heads predict boxes in float32; needs MMDet.

    They make anchors of the type of their outputs, in which autocast with
    bfloat16 can tell apart whole pixels up to 256 only.
    """
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    if not hasattr(BaseDenseHead.predict_by_feat, '__wrapped__'):
        BaseDenseHead.predict_by_feat = _in_float32(
            BaseDenseHead.predict_by_feat
        )


def _in_float32(function: Callable) -> Callable:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return function(*map(_from_bfloat16, args), **kwargs)

    return wrapped


def _allow_amp_on_cpu() -> None:
    """Let ``AmpOptimWrapper`` train on a CPU, as MMEngine's autocast can.

    It asks for a GPU, of which only float16 has need: to scale the losses.
    """
    from mmengine.optim.optimizer import amp_optimizer_wrapper as module

    if get_device() != 'cpu':
        return
    module.is_cuda_available = lambda: True
    scaler = getattr(torch.amp, 'GradScaler', module.GradScaler)
    module.GradScaler = functools.partial(scaler, enabled=False)


# -- Images of extreme aspect ratios -----------------------------------------


def _keep_thin_images() -> None:
    """Let mmcv rescale images to no less than one pixel a side.

    With the aspect ratio kept, it rounds the short side of a thin image to
    zero, which OpenCV refuses: MMDet's ``Resize`` fails.
    """
    from mmcv.image import geometric

    original = geometric._scale_size
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def scale_size(*args: Any) -> Tuple[int, ...]:
        return tuple(max(side, 1) for side in original(*args))

    geometric._scale_size = scale_size


# -- Distributed training without a GPU --------------------------------------

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
