"""Checkpoints that are not only tensors, for MMEngine."""

import functools
from typing import Any, Optional

import torch
from torch import nn

from ..errors import InputError
from .checkpoint_file import load_for_mmengine, load_url


class _TorchWithSafeLoad:
    """``torch`` for the module whose every ``torch.load`` is to be safe."""

    load = staticmethod(load_for_mmengine)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def load_checkpoints_safely() -> None:
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


def run_no_config_of_checkpoints() -> None:
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
