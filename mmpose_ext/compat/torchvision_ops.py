"""A torchvision whose compiled part does not fit torch."""

import importlib.machinery
import importlib.util
import sys
from typing import Optional

import torch

# Declarations live as long as the library that made them.
_torchvision_library: Optional[torch.library.Library] = None


def declare_torchvision_ops() -> None:
    """Let torchvision be imported where its compiled part cannot load.

    A CPU build of torch beside a CUDA build of torchvision is the usual
    case. Torchvision's Python part then gives two operators a fake kernel
    although only the compiled part would have declared them, and the import
    ends in ``operator torchvision::nms does not exist``. Declared, they can
    be imported; a call raises that there is no kernel.

    On Windows the compiled part needs folders that only torchvision itself
    adds to the search path, so that it cannot be tried here.
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
