"""Modules of ours in the place of those that are missing or broken."""

import importlib
import importlib.util
import inspect
import sys
from typing import Callable, Dict

import numpy as np

from . import environment
from .report import Repair


def provide_operators() -> Repair:
    """Let mmcv's operators run without its compiled part."""
    thing = "mmcv's operators"
    ours = f'{__package__}.operators'
    reason = stand_in(
        'mmcv._ext',
        {'mmcv._ext': ours},
        _try_operators,
    )
    if not reason:
        return Repair(thing, 'compiled, they work')
    mmcv = environment.installed(*environment.MMCV)
    if 'mmcv-lite' not in mmcv:
        environment.warn(
            f'{environment.join(*mmcv) or "mmcv"} has no compiled operators '
            f'that work ({reason}). Those of mmpose_ext stand in, as beside '
            f'mmcv-lite. {environment.ways_to_mmcv()}'
        )
    operators = importlib.import_module(ours)
    names = {
        operators.public_name(name)
        for name, function in inspect.getmembers(operators, callable)
        if function.__module__.startswith(f'{ours}.')
    }
    return Repair(
        thing,
        reason,
        f'{len(names)} over torchvision and PyTorch: '
        f'{", ".join(sorted(names))}; the others raise when they are called',
    )


def _try_operators() -> None:
    # What an old build has left behind may lack some.
    for name in ('active_rotated_filter_forward', 'nms'):
        getattr(importlib.import_module('mmcv._ext'), name)


def provide_xtcocotools() -> Repair:
    """Let MMPose evaluate without xtcocotools, or with one that is broken."""
    ours = f'{__package__}.xtcocotools'
    modules = {
        'xtcocotools': ours,
        'xtcocotools.coco': f'{ours}.coco',
        'xtcocotools.cocoeval': f'{ours}.cocoeval',
        'xtcocotools.mask': 'pycocotools.mask',
    }
    reason = stand_in('xtcocotools', modules, _try_xtcocotools)
    done = reason and 'evaluates with faster-coco-eval'
    return Repair('xtcocotools', reason or 'works', done)


def _try_xtcocotools() -> None:
    importlib.import_module('xtcocotools.cocoeval')
    importlib.import_module('xtcocotools.coco')
    mask = importlib.import_module('xtcocotools.mask')
    # Built against numpy 2 it imports, and fails here.
    mask.decode(mask.encode(np.zeros((1, 1), np.uint8, order='F')))


def provide_pkg_resources() -> Repair:
    """Let MMEngine find packages where setuptools 82 is installed."""
    reason = stand_in(
        'pkg_resources',
        {'pkg_resources': f'{__package__}.pkg_resources'},
        _find_pkg_resources,
    )
    done = reason and 'reads what pip writes'
    if reason and environment.installed('openmim'):
        done += "; mim does not start, type: pip install 'setuptools<82'"
    return Repair('pkg_resources', reason or 'there', done)


def _find_pkg_resources() -> None:
    # Its import takes longer than all the repairs.
    if importlib.util.find_spec('pkg_resources') is None:
        raise ModuleNotFoundError("No module named 'pkg_resources'")


def stand_in(
    name: str, modules: Dict[str, str], try_out: Callable[[], object]
) -> str:
    """Let modules of ours be imported where the real ones do not work.

    Args:
        name (str): The package, or module of one, that is tried.
        modules (dict): The module of ours for each one that is replaced.
        try_out (callable): Imports the real modules and uses them; raises
            anything where they do not work.

    Returns:
        str: Why the real ones are replaced; empty where they work.

    Raises:
        ImportError: If ours cannot be imported, or the package that a
            module of it is replaced in. Nothing is replaced then.
    """
    if modules[name] in sys.modules and (
        sys.modules.get(name) is sys.modules[modules[name]]
    ):
        return 'it was replaced before'
    try:
        try_out()
        return ''
    except Exception as e:
        reason = f'{type(e).__name__}: {e}'.partition('\n')[0]
    parent, _, child = name.rpartition('.')
    if parent:
        importlib.import_module(parent)
    loaded = {
        real: importlib.import_module(ours) for real, ours in modules.items()
    }
    # What the failed try has left behind.
    for real in list(sys.modules):
        if real == name or real.startswith(f'{name}.'):
            del sys.modules[real]
    sys.modules.update(loaded)
    if parent:
        setattr(sys.modules[parent], child, loaded[name])
    return reason
