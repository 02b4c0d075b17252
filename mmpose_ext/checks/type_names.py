"""Find the type names of a config that no registry knows."""

import re
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Iterator, List, Optional, Tuple

import mmengine.registry as root
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry
from mmpose.registry import BATCH_AUGMENTS, KEYPOINT_CODECS

from ..errors import InputError, did_you_mean

# The key under which a type stands tells the registry it comes from: first
# what stands at the top of a config, then what can stand deeper in it.
_TOP_LEVEL = {
    'model': root.MODELS,
    'model_wrapper_cfg': root.MODEL_WRAPPERS,
    'optim_wrapper': root.OPTIM_WRAPPERS,
    'param_scheduler': root.PARAM_SCHEDULERS,
    'train_cfg': root.LOOPS,
    'val_cfg': root.LOOPS,
    'test_cfg': root.LOOPS,
    'val_evaluator': root.METRICS,
    'test_evaluator': root.METRICS,
    'default_hooks': root.HOOKS,
    'custom_hooks': root.HOOKS,
    'visualizer': root.VISUALIZERS,
    'log_processor': root.LOG_PROCESSORS,
}
_NESTED = {
    'backbone': root.MODELS,
    'neck': root.MODELS,
    'head': root.MODELS,
    'data_preprocessor': root.MODELS,
    'norm_cfg': root.MODELS,
    'act_cfg': root.MODELS,
    'conv_cfg': root.MODELS,
    'init_cfg': root.WEIGHT_INITIALIZERS,
    'codec': KEYPOINT_CODECS,
    'encoder': KEYPOINT_CODECS,
    'decoder': KEYPOINT_CODECS,
    'dataset': root.DATASETS,
    'datasets': root.DATASETS,
    'pipeline': root.TRANSFORMS,
    'transforms': root.TRANSFORMS,
    'sampler': root.DATA_SAMPLERS,
    'batch_sampler': root.DATA_SAMPLERS,
    'metrics': root.METRICS,
    'optimizer': root.OPTIMIZERS,
    'vis_backends': root.VISBACKENDS,
}
# In MMDetection's models, whose samplers take no part in loading data.
_OF_DETECTORS = ('anchor_generator', 'assigner', 'bbox_coder', 'sampler')
_REGISTRIES = [
    *{id(r): r for r in (*_TOP_LEVEL.values(), *_NESTED.values())}.values(),
    root.TASK_UTILS,
    root.EVALUATOR,
    BATCH_AUGMENTS,
]
# Their 'transforms' are classes of albumentations, not of a registry.
_FOREIGN_TRANSFORMS = {'Albumentation', 'Albu'}


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
    scope = cfg.get('default_scope', 'mmengine')
    for key in keys:
        node = cfg.get(key)
        registry = _TOP_LEVEL.get(key)
        for name, where, registry_, scope_ in _types(
            node, key, registry, scope
        ):
            if not _is_known(name, registry_, scope_):
                raise InputError(_message(name, where, registry_, scope_))


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
        scope = scope or cfg.get('default_scope', 'mmengine')
        places = ', '.join(_places(cfg, name)) or 'the config'
        registry = _registry_called(kind, scope)
        raise InputError(_message(name, places, registry, scope)) from e


def all_registries() -> List[Registry]:
    """All registries of the OpenMMLab packages that are imported."""
    roots = [r for r in vars(root).values() if isinstance(r, Registry)]
    children = (c for r in roots for c in r.children.values())
    return [*children, *roots, KEYPOINT_CODECS, BATCH_AUGMENTS]


def _registry_called(name: str, scope: str) -> Registry:
    every = all_registries()
    same_name = [r for r in every if r.name == name] or [root.MODELS]
    return next((r for r in same_name if r.scope == scope), same_name[0])


def _types(
    node, where: str, registry: Optional[Registry], scope: str
) -> Iterator[Tuple[str, str, Registry, str]]:
    """Yield (name, place, registry, scope) of all types to be looked up."""
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            yield from _types(item, f'{where}[{i}]', registry, scope)
        return
    if not isinstance(node, dict):
        return
    scope = node.get('_scope_', scope)
    name = node.get('type')
    if isinstance(name, str) and registry is not None:
        yield name, f'{where}.type', registry, scope
    for key, value in node.items():
        if key == 'transforms' and name in _FOREIGN_TRANSFORMS:
            continue
        # A dict without a type, such as default_hooks, is a collection.
        inherited = None if 'type' in node else registry
        place = f'{where}.{key}'
        yield from _types(value, place, _registry_of(place, inherited), scope)


def _registry_of(
    place: str, inherited: Optional[Registry]
) -> Optional[Registry]:
    top, *_, key = place.split('.')
    if top == 'model' and key in _OF_DETECTORS:
        return root.TASK_UTILS
    if key.startswith('loss') or key.endswith(('_head', '_extractor')):
        return root.MODELS
    if key.endswith('_pipeline'):
        return root.TRANSFORMS
    return _NESTED.get(key, inherited)


def _is_known(name: str, registry: Registry, scope: str) -> bool:
    package = name.split('.')[0] if '.' in name else scope
    if package in MODULE2PACKAGE and find_spec(package) is None:
        return True
    # A key may mean something else deep in a model ('sampler', 'encoder'),
    # so that only a name which is nowhere at all counts as wrong.
    return any(_lookup(name, r, scope) for r in (registry, *_REGISTRIES))


def _lookup(name: str, registry: Registry, scope: str) -> bool:
    with _in_scope(registry, scope) as registry_:
        try:
            return registry_.get(name) is not None
        except RuntimeError as e:
            if not str(e).startswith('Failed to get'):
                raise
            return False  # MMEngine's answer to a name like 'a..b'


@contextmanager
def _in_scope(registry: Registry, scope: str) -> Iterator[Registry]:
    """A root registry's child for a scope; MMPose's own registries as is."""
    if registry.scope == 'mmengine':
        with registry.switch_scope_and_registry(scope) as child:
            yield child
    else:
        yield registry


def _names(registry: Registry, scope: str) -> List[str]:
    """All names that a type without a prefix can have."""
    names = []
    with _in_scope(registry, scope) as node:
        while node is not None:
            node.import_from_location()
            names += node.module_dict
            node = node.parent
    return names


def _message(name: str, where: str, registry: Registry, scope: str) -> str:
    package, _, plain = name.rpartition('.')
    if package in MODULE2PACKAGE and find_spec(package) is None:
        return f"'{name}' ({where}) needs {package}, which is not installed"
    scope = package if package in registry.children else scope
    return (
        f"unknown type '{name}' at {where}: "
        f'the {registry.name} registry of {scope} has no such name'
        + did_you_mean(plain, _names(registry, scope))
    )


def _places(node, name: str, where: str = '') -> Iterator[str]:
    """Yield all places of a config that hold a name."""
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            yield from _places(item, name, f'{where}[{i}]')
    elif hasattr(node, 'items'):
        for key, value in node.items():
            place = f'{where}.{key}' if where else str(key)
            yield from _places(value, name, place)
    elif isinstance(node, str) and node == name:
        yield where
