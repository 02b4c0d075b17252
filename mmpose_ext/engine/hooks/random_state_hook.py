import random
from typing import Dict, Optional

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import nn

from ...errors import InputError


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Make a resumed run end with the weights of an uninterrupted one.

    The states of Python's, NumPy's and torch's generators at the end of a
    training epoch go into the checkpoint, one set for each process, and the
    next epoch begins with them, in a run that is not stopped, too: random
    numbers that the validation draws then do not matter. Worker processes
    that draw random numbers must not outlive an epoch (``num_workers=0`` or
    ``persistent_workers=False``), and the config must set the seed.

    Gradients that are accumulated over several batches
    (``accumulative_counts`` of the ``optim_wrapper``) and wait at the end of
    an epoch for the next one, which MMEngine leaves out of a checkpoint, are
    kept as well, for each process. They take as much space as the weights.
    MMEngine warns all the same that they are lost.

    It works for training by epoch. Training by iteration draws the next
    batch before any hook can run, so there nothing is kept.

    In a config: ``custom_hooks = [dict(type='RandomStateHook')]``.
    """

    # First at the end and at the start of an epoch, so that random numbers
    # that other hooks draw there do not matter.
    priority = 'VERY_HIGH'

    _key = 'random_states'

    def __init__(self) -> None:
        # One for each process.
        self._states: Optional[list] = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._states = checkpoint.get(self._key)

    def before_train(self, runner) -> None:
        if runner.iter == 0:  # weights were loaded, no run is resumed
            self._states = None
        elif not (
            isinstance(self._states, list)
            and len(self._states) == get_world_size()
        ):
            runner.logger.warning(
                'The checkpoint has no random states of '
                f'{get_world_size()} process(es): the resumed run will '
                'draw other random numbers than an uninterrupted one.'
            )
            self._states = None
        else:
            try:
                _set_state(self._states[get_rank()], runner.model)
            except (KeyError, TypeError, ValueError, RuntimeError) as e:
                raise InputError(
                    f'the {self._key} of the checkpoint cannot be used: {e!r}'
                ) from e

    def before_train_epoch(self, runner) -> None:
        if self._states is not None:
            _set_random_state(self._states[get_rank()])

    def after_train_epoch(self, runner) -> None:
        gradients = {
            name: parameter.grad.cpu()
            for name, parameter in runner.model.named_parameters()
            if parameter.grad is not None
        }
        state = dict(_get_random_state(), gradients=gradients)
        self._states = all_gather_object(state)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if self._states is not None:
            checkpoint[self._key] = self._states


def _set_state(state: Dict, model: nn.Module) -> None:
    """Set all of it; earlier versions kept no gradients."""
    _set_random_state(state)
    gradients = state.get('gradients', {})
    for name, parameter in model.named_parameters():
        if name in gradients:
            parameter.grad = gradients[name].to(parameter)


def _get_random_state() -> Dict:
    state = dict(
        python=random.getstate(),
        numpy=np.random.get_state(),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def _set_random_state(state: Dict) -> None:
    random.setstate(state['python'])
    np.random.set_state(state['numpy'])
    # A checkpoint is loaded onto the device, these belong on the CPU.
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())
