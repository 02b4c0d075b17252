"""Checkpoints that do not fit the model."""

import functools
import inspect
import logging
from typing import Any, Dict, List, Mapping

import torch
from mmengine.logging import print_log
from torch import nn

from ..errors import InputError
from .checkpoint_loader import last_loaded
from .report import Repair

_SHOWN = 3


def report_what_is_loaded() -> Repair:
    """Let MMEngine refuse weights none of which fit, and count those that do.

    Left alone, it continues with random weights; its warning, the names of
    all tensors that do not fit, fills screens even where most of them do.
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
    return Repair(
        'weights that do not fit',
        'MMEngine goes on with random ones',
        'refused if none fits, counted if some do not',
    )


def _versions(module: nn.Module) -> Dict[str, tuple]:
    """Something that changes with each tensor that is loaded.

    Names do not show it, because modules convert older weights.
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
