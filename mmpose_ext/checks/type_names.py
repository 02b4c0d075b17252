"""Find the type names of a config that no registry knows."""

import re
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Iterator, List, Optional, Tuple

import mmengine.registry as root
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry
from mmpose.registry import BATCH_AUGMENTS, KEYPOINT_CODECS

from ..errors import InputError, did_you_mean

# The registry of a type, by the key under which it stands.
_KEYS = {
    root.MODELS: 'model backbone neck head data_preprocessor '
    'norm_cfg act_cfg conv_cfg',
    root.MODEL_WRAPPERS: 'model_wrapper_cfg',
    root.WEIGHT_INITIALIZERS: 'init_cfg',
    KEYPOINT_CODECS: 'codec encoder decoder',
    root.DATASETS: 'dataset datasets',
    root.TRANSFORMS: 'pipeline transforms',
    root.DATA_SAMPLERS: 'sampler batch_sampler',
    root.METRICS: 'val_evaluator test_evaluator metrics',
    root.OPTIM_WRAPPERS: 'optim_wrapper',
    root.OPTIMIZERS: 'optimizer',
    root.PARAM_SCHEDULERS: 'param_scheduler',
    root.HOOKS: 'default_hooks custom_hooks',
    root.VISUALIZERS: 'visualizer',
    root.VISBACKENDS: 'vis_backends',
    root.LOG_PROCESSORS: 'log_processor',
}
_REGISTRY_OF = {k: r for r, keys in _KEYS.items() for k in keys.split()}
# At the top of a config; in a model they are settings.
_LOOPS = ('train_cfg', 'val_cfg', 'test_cfg')
# In MMDetection's models, whose samplers take no part in loading data.
_OF_DETECTORS = ('anchor_generator', 'assigner', 'bbox_coder', 'sampler')
_REGISTRIES = (*_KEYS, root.LOOPS, root.TASK_UTILS, root.EVALUATOR)
_REGISTRIES += (BATCH_AUGMENTS,)
# Their 'transforms' are classes of albumentations, not of a registry.
_FOREIGN_TRANSFORMS = ('Albumentation', 'Albu')


def check_type_names(cfg, keys) -> None:
    """Raise where a type name in a config is in no registry.

    Only names at places whose registry is known are looked at: a backbone, a
    transform, a hook, ... The others are left to MMEngine, which looks them
    up when it builds them (see :func:`explain_unknown_types`). Types that
    are classes, and names of an OpenMMLab package that is not installed, are
    not looked at either.

    Args:
        cfg (Config): The whole config.
        keys (Sequence[str]): The top-level keys that are in use.

    Raises:
        InputError: Names the first wrong type, its place, and close matches.
    """
    used = {key: cfg.get(key) for key in keys}
    for name, where, registry, scope in _types(used, _default_scope(cfg)):
        if registry is not None and not _is_known(name, registry, scope):
            raise InputError(_message(name, where, registry, scope))


@contextmanager
def explain_unknown_types(cfg) -> Iterator[None]:
    """Turn MMEngine's error about an unknown type into an ``InputError``.

    Args:
        cfg (Config): The whole config, in which the name is searched.
    """
    try:
        yield
    except KeyError as e:
        found = re.match(
            r'(\S+) is not in the (?:(.*)::)?(.+?) registry', str(e.args[0])
        )
        if found is None:
            raise
        name, scope, kind = found.groups()
        where = ', '.join(_places(cfg, name)) or 'the config'
        scope = scope or _default_scope(cfg)
        registries = [r for r in all_registries() if r.name == kind]
        # Those of the scope first.
        registries.sort(key=lambda r: r.scope != scope)
        registry = (registries or [root.MODELS])[0]
        raise InputError(_message(name, where, registry, scope)) from e


def all_registries() -> List[Registry]:
    """All registries of the OpenMMLab packages that are imported."""
    roots = [r for r in vars(root).values() if isinstance(r, Registry)]
    children = (c for r in roots for c in r.children.values())
    return [*children, *roots, KEYPOINT_CODECS, BATCH_AUGMENTS]


def _default_scope(cfg) -> str:
    return cfg.get('default_scope', 'mmengine')


def _types(
    node: Any, scope: str, where: str = '', registry: Optional[Registry] = None
) -> Iterator[Tuple[str, str, Optional[Registry], str]]:
    """Yield (name, place, registry if known, scope) of all types."""
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            yield from _types(item, scope, f'{where}[{i}]', registry)
    if not isinstance(node, dict):
        return
    scope, name = node.get('_scope_', scope), node.get('type')
    if isinstance(name, str):
        yield name, f'{where}.type', registry, scope
    for key, value in node.items():
        if key == 'transforms' and name in _FOREIGN_TRANSFORMS:
            continue
        place = f'{where}.{key}' if where else key
        # A dict without a type, such as default_hooks, is a collection.
        inherited = None if 'type' in node else registry
        yield from _types(value, scope, place, _registry_of(place, inherited))


def _registry_of(
    place: str, inherited: Optional[Registry]
) -> Optional[Registry]:
    top, _, key = place.partition('.')
    key = key.rpartition('.')[2] or top
    if place in _LOOPS:
        return root.LOOPS
    if top == 'model' and key in _OF_DETECTORS:
        return root.TASK_UTILS
    if key.startswith('loss') or key.endswith(('_head', '_extractor')):
        return root.MODELS
    if key.endswith('_pipeline'):
        return root.TRANSFORMS
    return _REGISTRY_OF.get(key, inherited)


def _is_known(name: str, registry: Registry, scope: str) -> bool:
    if _is_missing(name.split('.')[0] if '.' in name else scope):
        return True
    # A key may mean something else deep in a model ('sampler', 'encoder'),
    # so that only a name which is nowhere at all counts as wrong.
    return any(_lookup(name, r, scope) for r in (registry, *_REGISTRIES))


def _is_missing(package: str) -> bool:
    """Whether a package of OpenMMLab is not installed."""
    return package in MODULE2PACKAGE and find_spec(package) is None


def _lookup(name: str, registry: Registry, scope: str) -> bool:
    if '' in name.split('.'):  # for which MMEngine fails to import a module
        return False
    with _in_scope(registry, scope) as registry_:
        return registry_.get(name) is not None


@contextmanager
def _in_scope(registry: Registry, scope: str) -> Iterator[Registry]:
    """A root registry's child for a scope; MMPose's own registries as is."""
    if registry.scope == 'mmengine':
        with registry.switch_scope_and_registry(scope) as child:
            yield child
    else:
        yield registry


def _message(name: str, where: str, registry: Registry, scope: str) -> str:
    package, _, plain = name.rpartition('.')
    if _is_missing(package):
        return f"'{name}' ({where}) needs {package}, which is not installed"
    scope = package if package in registry.children else scope
    names = []  # all that a type without a prefix can have
    with _in_scope(registry, scope) as node:
        while node is not None:
            node.import_from_location()
            names += node.module_dict
            node = node.parent
    return (
        f"unknown type '{name}' at {where}: "
        f'the {registry.name} registry of {scope} has no such name'
        + did_you_mean(plain, names)
    )


def _places(node: Any, name: str, where: str = '') -> Iterator[str]:
    """Yield all places of a config that hold a name, under any key."""
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            yield from _places(item, name, f'{where}[{i}]')
    elif hasattr(node, 'items'):
        for key, value in node.items():
            yield from _places(value, name, f'{where}.{key}'.lstrip('.'))
    elif node == name:
        yield where
