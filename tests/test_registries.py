"""Each registered class stands alone in a file of its name."""

from collections import defaultdict

import mmdet.registry
import mmengine.registry
import mmpose.registry
from mmengine.fileio.backends.registry_utils import backends
from mmengine.hooks import Hook
from mmengine.registry import Registry

import mmpose_ext.multitask  # noqa: F401, registers its classes


def find_registered():
    """Classes of all registries, and hooks that only tools register."""
    for module in (mmengine.registry, mmpose.registry, mmdet.registry):
        for registry in vars(module).values():
            if isinstance(registry, Registry):
                yield from registry.module_dict.values()
    yield from backends.values()
    yield from Hook.__subclasses__()


def test_a_class_stands_alone_in_a_file_of_its_name():
    files = defaultdict(set)
    for item in find_registered():
        if item.__module__.startswith('mmpose_ext.'):
            files[item.__module__].add(item.__name__)
    assert len(files) > 40
    # LIPPCKh stands in lip_pckh.py: where words end is not compared.
    wrong = {
        module: names
        for module, names in files.items()
        if [name.lower() for name in names]
        != [module.rpartition('.')[2].replace('_', '')]
    }
    assert not wrong
