"""Modules of ours in the place of those that are missing or broken."""

import importlib
import sys
from typing import Callable, Dict


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
    """
    if getattr(sys.modules.get(name), '__name__', name) != name:
        return ''  # a stand-in already
    try:
        try_out()
        return ''
    except Exception as e:
        reason = f'{type(e).__name__}: {e}'
    for real in [real for real in sys.modules if _is_part(real, name)]:
        del sys.modules[real]
    for real, ours in modules.items():
        module = importlib.import_module(ours)
        sys.modules[real] = module
        parent, _, child = real.rpartition('.')
        if parent:
            setattr(importlib.import_module(parent), child, module)
    return reason


def _is_part(module: str, package: str) -> bool:
    return module == package or module.startswith(f'{package}.')
