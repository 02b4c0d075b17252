from .fast_test_hook import FastTestHook
from .random_state_hook import RandomStateHook
from .strict_checkpoint_hook import StrictCheckpointHook

__all__ = ['FastTestHook', 'RandomStateHook', 'StrictCheckpointHook']
