"""Configs, by the names that users have for them."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject

from ..checks.type_names import all_registries
from ..errors import InputError, did_you_mean


def load_config(name: str) -> Config:
    """Load a config by path, by base name, or from a package.

    Types that are classes, as in pure Python configs, are replaced by their
    registered names, so that all that works on a config finds names. A class
    of no registry stays.

    Args:
        name (str): A path; or, as mim takes it, the base name of a config
            of mmpose_ext or MMPose, ``.py`` or not; or the path in a
            package's configs, ``mmpose::body_2d_keypoint/...``.

    Raises:
        InputError: If there is no such config, or it cannot be read.
    """
    path = find_config(name)
    try:
        cfg = Config.fromfile(path)
        scope = cfg.get('default_scope') or 'mmengine'
        _name_types(cfg._cfg_dict, scope)
        return cfg
    except Exception as e:  # A config is a program: anything may go wrong.
        raise InputError(
            f'cannot read config {path}: {type(e).__name__}: {e}'
        ) from e


def _name_types(node: Any, scope: str) -> None:
    """Replace classes under ``type`` by their names, in place.

    Args:
        node (Any): A part of a config.
        scope (str): The scope whose names need no prefix.
    """
    if isinstance(node, dict):
        # A ConfigDict's own items are copies, with what is lazy imported.
        for key, value in list(dict.items(node)):
            if key == 'type' and isinstance(value, (LazyAttr, LazyObject)):
                node[key] = _registered_name(value.build(), scope) or value
            else:
                _name_types(value, scope)
    elif isinstance(node, (list, tuple)):
        for item in node:
            _name_types(item, scope)


def _registered_name(cls: Any, scope: str) -> Optional[str]:
    """A name by which a class is found from a scope; None without one."""
    for registry in all_registries():
        child = registry.children.get(scope)
        for name, known in registry.module_dict.items():
            if known is not cls:
                continue
            # What a root has is found from below, if it is not hidden there.
            if registry.scope == scope or (
                registry.scope == 'mmengine'
                and not (child and name in child.module_dict)
            ):
                return name
            return f'{registry.scope}.{name}'
    return None


def find_config(name: str) -> Path:
    """Find the file of a config by the names that :func:`load_config` takes.

    Args:
        name (str): The name.

    Returns:
        Path: The file.

    Raises:
        InputError: If there is no such config.
    """
    if Path(name).is_file():
        return Path(name)
    package, separator, inner = name.partition('::')
    if separator:
        path = _configs_of(package) / inner
        if not path.is_file():
            raise InputError(f'{package} has no config {inner}')
        return path

    stem = Path(name).name.removesuffix('.py')
    known = [
        path
        for package in ('mmpose_ext', 'mmpose')
        for path in _configs_of(package).rglob('*.py')
    ]
    found = [path for path in known if path.stem == stem]
    if len(found) > 1:
        raise InputError(
            f"'{name}' is ambiguous, give one of these paths: "
            + ', '.join(map(str, found))
        )
    if not found:
        raise InputError(
            f"config '{name}' does not exist, and neither mmpose_ext nor "
            'mmpose has one of that name'
            + did_you_mean(stem, [path.stem for path in known])
        )
    return found[0]


def _configs_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"package '{package}' is not installed")
    return Path(spec.origin).parent / '.mim' / 'configs'
