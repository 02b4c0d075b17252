"""Checkpoints that are not only tensors, for MMEngine."""

import functools
import os
import threading
from typing import Any, BinaryIO, Optional, Union
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import nn

from ..errors import InputError
from .checkpoint_file import find_weights, load_checkpoint
from .report import Repair

# In each thread the 'name' of the checkpoint of the last
# :func:`load_for_mmengine`: MMEngine reads a file in one function and gives
# a model its weights in another, which does not know the name.
last_loaded = threading.local()


def load_for_mmengine(
    file: Union[str, os.PathLike, BinaryIO], map_location: Any = None
) -> dict:
    """Load a checkpoint that MMEngine can work with.

    Without the config that MMCV once put into it: MMEngine, resuming, would
    run that text as Python to learn the number of GPUs. What MMEngine saves
    has no such entry.

    Args:
        file: As in :func:`load_checkpoint`.
        map_location: As in :func:`torch.load`.

    Raises:
        InputError: as from :func:`load_checkpoint` and
            :func:`find_weights`.
    """
    checkpoint = load_checkpoint(file, map_location)
    last_loaded.name = 'file' if hasattr(file, 'read') else str(file)
    find_weights(checkpoint, last_loaded.name)
    checkpoint.get('meta', {}).pop('config', None)
    return checkpoint


def load_url(
    url: str,
    model_dir: Optional[str] = None,
    map_location: Any = None,
    progress: bool = True,
) -> Any:
    """``torch.hub.load_state_dict_from_url``, which loads without a check."""
    folder = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    path = os.path.join(folder, os.path.basename(urlparse(url).path))
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, path, progress=progress)
        except URLError as e:
            raise InputError(f"cannot download '{url}': {e}") from e
    return load_for_mmengine(path, map_location)


class _TorchWithSafeLoad:
    """``torch`` for the module whose every ``torch.load`` is to be safe."""

    load = staticmethod(load_for_mmengine)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def load_checkpoints_safely() -> Repair:
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
    return Repair(
        'checkpoints',
        'torch refuses those of MMEngine, or runs what is in them',
        'read by a restricted unpickler',
    )


def run_no_config_of_checkpoints() -> Repair:
    """Let MMEngine's inferencers run no config that a checkpoint carries.

    Given weights alone they take the text of a config from the file and run
    it as Python.
    """
    from mmengine.infer import BaseInferencer

    original = BaseInferencer._init_model

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
    return Repair('configs in checkpoints', 'inferencers run them', 'refused')
