"""The classes of this package that a config can name."""

import inspect
from typing import Dict

import mmdet.registry
import mmpose.registry
from mmengine.registry import Registry

import mmpose_ext.deploy
import mmpose_ext.engine
import mmpose_ext.multitask  # noqa: F401


def registered_classes() -> Dict[str, type]:
    """Those in MMPose's and MMDet's registries, by the names there."""
    return {
        name: item
        for module in (mmpose.registry, mmdet.registry)
        for registry in vars(module).values()
        if isinstance(registry, Registry)
        for name, item in registry.module_dict.items()
        if inspect.isclass(item) and item.__module__.startswith('mmpose_ext.')
    }
