"""All that can be measured, from what a user names."""

from typing import Optional, Sequence, Tuple

import numpy as np
import torch

from ..errors import InputError
from .networks import Call, load_call
from .pose_steps import STEPS, load_step


def load_spec(
    spec: str,
    shape: Optional[Tuple[int, int]] = None,
    maps: Sequence[Tuple[int, int, int]] = (),
    batch: int = 1,
    device: str = 'cpu',
    dtype: str = 'float32',
    persons: int = 3,
) -> Call:
    """Load a step, a network, a part of one or a module.

    Weights and images are random, and the same each time, and so is what
    transforms draw.

    Args:
        spec (str): What :func:`load_step` or :func:`load_call` takes.
        shape (tuple[int, int], optional): Height and width of the images in
            pixels. Defaults to the config's.
        maps (Sequence[tuple[int, int, int]]): Channels, height and width of
            the maps for a module by itself.
        batch (int): Number of images. Defaults to 1.
        device (str): Where to build it. Defaults to ``'cpu'``.
        dtype (str): Of weights and inputs. Defaults to ``'float32'``.
        persons (int): Persons of an image. Defaults to 3.

    Raises:
        InputError: There is no such thing, or it cannot be used like this.
    """
    torch.manual_seed(0)
    np.random.seed(0)
    options = dict(shape=shape, batch=batch, device=device)
    if step_of(spec) is None:
        return load_call(
            spec, maps=maps, dtype=getattr(torch, dtype), **options
        )
    if dtype != 'float32':
        raise InputError(f'{spec}: steps work in float32, got {dtype}')
    return load_step(spec, persons=persons, **options)


def step_of(spec: str) -> Optional[str]:
    """The step that a spec names, or None.

    Args:
        spec (str): See :func:`load_spec`.
    """
    step = spec.partition(':')[0]
    return step if step in STEPS else None
