"""Imports between subpackages go down, lazy ones included."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'mmpose_ext'
NAME = re.compile(rf'{PACKAGE}(\.\w+)+$')
# From the bottom to the top. A module may import what stands below its own
# subpackage; what is on one line may not import each other.
ORDER = """
    errors version
    arguments
    files
    compat
    checks
    codecs
    datasets
    models
    evaluation
    engine
    synthetic
    inference
    deploy
    converters
    multitask
    analysis
    demos
    __init__
"""
LEVEL = {
    name: level
    for level, line in enumerate(ORDER.splitlines())
    for name in line.split()
}
# They stand above the package, and each program alone.
PROGRAMS = ('tools', 'demo', 'benchmarks')


def module_of(path):
    """('mmpose_ext', 'models', 'heads', 'x'), with ``__init__`` at its end."""
    return Path(path).with_suffix('').parts


def imported(tree, module):
    """All modules, as tuples, that a file of the module's name imports.

    A name that is imported from a module may be a module itself: it is
    among them.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split('.'))
        elif isinstance(node, ast.ImportFrom):
            base = module[: -node.level] if node.level else ()
            base += tuple(node.module.split('.')) if node.module else ()
            for alias in node.names:
                yield (*base, alias.name)
        elif isinstance(node, ast.Constant) and NAME.match(str(node.value)):
            # Of import_module, of ``custom_imports``.
            yield tuple(node.value.split('.'))


def subpackage(module):
    """The name in ``ORDER`` of a module of the package, or of a name in it."""
    name = module[1] if len(module) > 1 else '__init__'
    return name if name in LEVEL else '__init__'


def problems_of(path, source):
    """What a file imports against the order, one line for each."""
    module, found = module_of(path), []
    own = subpackage(module)
    for other in imported(ast.parse(source), module):
        if other[0] in PROGRAMS:
            found.append(f'{path} imports the program {".".join(other)}')
        if other[0] != PACKAGE:
            continue
        theirs = subpackage(other)
        if own != theirs and LEVEL[own] <= LEVEL[theirs]:
            found.append(f'{path} imports {".".join(other)}')
    return found


def sources(folder):
    for path in sorted((ROOT / folder).rglob('*.py')):
        yield path.relative_to(ROOT).as_posix(), path.read_text()


def test_imports_of_the_package_go_down():
    found = [x for name, text in sources(PACKAGE)
             for x in problems_of(name, text)]  # fmt: skip
    assert not found, '\n'.join(found)


def test_the_order_lists_all_subpackages():
    names = {
        path.stem
        for path in (ROOT / PACKAGE).iterdir()
        if path.suffix == '.py' or (path / '__init__.py').is_file()
    }
    assert names == set(LEVEL)


def test_imports_upwards_are_seen_and_others_are_not():
    for expected, path, source in (
        (1, 'models/heads/x.py', 'from ...engine import tta'),
        (1, 'models/heads/x.py', 'from mmpose_ext.engine import tta'),
        (1, 'models/heads/x.py', 'import mmpose_ext.engine.tta as tta'),
        (1, 'models/heads/x.py', 'def f():\n    from ... import engine'),
        (1, 'models/x.py', 'if TYPE_CHECKING:\n    from ..engine import x'),
        (1, 'models/x.py', 'try:\n    from .. import engine\nfinally: f'),
        (1, 'models/__init__.py', "import_module('mmpose_ext.engine.tta')"),
        (1, 'errors.py', 'from .version import __version__'),
        (1, 'models/x.py', 'from .. import __version__, errors'),
        (1, 'demos.py', 'from tools import train'),
        (1, 'demos.py', 'import benchmarks.page'),
        (0, 'models/heads/x.py', 'from ..layers import y; from . import z'),
        (0, 'models/heads/x.py', 'from ...codecs.y import z'),
        (0, 'models/heads/x.py', 'from ...errors import InputError'),
        (0, '__init__.py', 'from . import compat, demos'),
        (0, 'engine/x.py', 'import mmpose.models; from mmdet import y'),
    ):
        found = problems_of(f'{PACKAGE}/{path}', source)
        assert len(found) == expected, source


@pytest.mark.parametrize('folder', PROGRAMS)
def test_no_program_imports_another(folder):
    """Benchmarks, a package, import each other."""
    alone = folder != 'benchmarks'
    others = set(PROGRAMS) - ({folder} - {'tools', 'demo'})
    others |= {Path(n).stem for n, _ in sources(folder)} if alone else set()
    found = [
        f'{name} imports {".".join(module)}'
        for name, text in sources(folder)
        for module in imported(ast.parse(text), module_of(name))
        if module[0] in others
    ]
    assert not found, '\n'.join(found)


def at_import(tree):
    """The nodes that run when a module is imported."""
    if isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from at_import(child)


def test_only_multitask_imports_mmdet_when_it_is_imported():
    """MMDet may be missing, and mmcv's operators be slow to import."""
    found = [
        name
        for folder in (PACKAGE, 'tools', 'demo')
        for name, text in sources(folder)
        if not name.startswith(f'{PACKAGE}/multitask/')
        for node in at_import(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for module in imported(node, module_of(name))
        if module[0] == 'mmdet' or module[:2] == ('mmcv', 'ops')
    ]
    assert not found
