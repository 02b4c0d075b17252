"""A torchvision whose compiled part does not fit torch."""

import importlib.util
import pkgutil
import sys
from typing import Optional

import torch

from . import environment
from .report import Repair

# Declarations live as long as the library that made them.
_torchvision_library: Optional[torch.library.Library] = None


def declare_torchvision_ops() -> Repair:
    """Let torchvision be imported where its compiled part cannot load.

    A CPU build of torch beside a CUDA build of torchvision is the usual
    case. Torchvision's Python part then gives two operators a fake kernel
    although only the compiled part would have declared them, and the import
    ends in ``operator torchvision::nms does not exist``. Declared, they can
    be imported; a call raises that there is no kernel. Warns where the two
    are of different releases.

    On Windows the compiled part needs folders that only torchvision itself
    adds to the search path, so that it cannot be tried here.
    """
    global _torchvision_library
    thing = "torchvision's compiled part"
    if 'torchvision' in sys.modules or sys.platform == 'win32':
        return Repair(thing, 'left to torchvision')
    package = importlib.util.find_spec('torchvision')
    # Since torchvision 0.29 it is called _C_stable.
    compiled = next(
        (
            module.module_finder.find_spec(module.name)
            for module in pkgutil.iter_modules(
                package.submodule_search_locations
            )
            if module.name.startswith('_C')
        ),
        None,
    )
    reason = '' if compiled else 'it is not there'
    try:
        if compiled is not None:
            torch.ops.load_library(compiled.origin)
    except OSError as e:  # as torchvision takes it: no operator is declared
        reason = f'{e.__cause__ or e}'
    if not reason or hasattr(torch.ops.torchvision, 'nms'):
        return Repair(thing, 'works')
    if not environment.torchvision_belongs_to_torch():
        environment.warn(
            f'{environment.join("torchvision", "torch")} are of different '
            f'releases, and the compiled part of the former does not load '
            f'({reason}); operators run over plain PyTorch instead. Type: '
            f'{environment.fitting_torchvision()}'
        )
    library = torch.library.Library('torchvision', 'FRAGMENT')
    for name in ('nms', 'qnms'):
        library.define(
            f'{name}(Tensor dets, Tensor scores, float iou_threshold)'
            ' -> Tensor'
        )
    _torchvision_library = library
    return Repair(thing, reason, 'declared, so that it can be imported')


def has_torchvision_op(name: str, device: torch.device) -> bool:
    """Whether torchvision's compiled part has an operator for a device.

    Not where PyTorch is told to be deterministic, which the gradients of
    some refuse.

    Args:
        name (str): The operator, such as 'nms'.
        device (torch.device): The device.

    Returns:
        bool: Whether it is there.
    """
    return (
        device.type in ('cpu', 'cuda', 'mps')
        and not torch.are_deterministic_algorithms_enabled()
        and hasattr(torch.ops.torchvision, name)
        and torch._C._dispatch_has_kernel_for_dispatch_key(
            f'torchvision::{name}', device.type.upper()
        )
    )
