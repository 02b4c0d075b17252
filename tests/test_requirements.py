"""What is imported is declared, and what is declared is imported."""

import ast
import runpy
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
# By folder, the longest name that fits a file: the lists of setup.py from
# which it may import. The lists at its end are there for it.
USERS = ('install', 'mim', 'detection', 'all', 'compiled')
MAY_IMPORT = {
    'mmpose_ext': ((), USERS),
    'mmpose_ext/deploy': ((), (*USERS, 'deploy')),
    'tools': ((), USERS),
    'demo': ((), USERS),
    'tests': ((*USERS, 'deploy'), ('tests',)),
    'benchmarks': ((*USERS, 'deploy'), ('tests',)),
}
# What is declared, but imported by others only.
REASONS = {
    'xtcocotools': 'MMPose lists it',
    'openxlab': 'mim depends on it; later ones ask for old packages',
    'chumpy': 'MMPose lists it; later ones cannot be built',
    'pytest-cov': 'make test measures the coverage',
    'pytest-xdist': 'make test runs several workers',
    'ruff': 'make test and make lint call it',
}
# Whichever of both is installed.
DISTRIBUTIONS = {**packages_distributions(), 'mmcv': ['mmcv', 'mmcv-lite']}
OURS = {'mmpose_ext', 'benchmarks', *(p.stem for p in ROOT.glob('tests/*'))}
OURS.add('xtcocotools')  # ours stands in for it


def read_declared():
    """The requirements of setup.py: of all users, and of each extra."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(
            setuptools, 'setup', lambda **kwargs: given.update(kwargs)
        )
        runpy.run_path('setup.py')
    lists = dict(given['extras_require'], install=given['install_requires'])
    return {key: list(map(Requirement, value)) for key, value in lists.items()}


DECLARED = read_declared()


def names_of(*lists):
    return {canonicalize_name(r.name) for key in lists for r in DECLARED[key]}


def files():
    """Each file of ours: its name and content, and a value of MAY_IMPORT."""
    for folder in ('mmpose_ext', 'tools', 'demo', 'tests', 'benchmarks'):
        for path in sorted((ROOT / folder).rglob('*.py')):
            name = path.relative_to(ROOT).as_posix()
            fits = [key for key in MAY_IMPORT if name.startswith(f'{key}/')]
            tree = ast.parse(path.read_text())
            yield name, tree, *MAY_IMPORT[max(fits, key=len)]


def imported(tree):
    """The packages that a file imports, but for the standard ones."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    tops = {name.partition('.')[0] for name in names}
    return tops - set(sys.stdlib_module_names) - OURS


def mentioned(tree):
    """Also those whose name is a text, as of ``import_module``."""
    texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    return imported(tree) | (texts & set(DISTRIBUTIONS))


def distributions(package):
    """The names of what has to be installed for a package, any of them."""
    return set(map(canonicalize_name, DISTRIBUTIONS.get(package, [package])))


def test_what_is_imported_is_declared():
    missing = [
        f'{name} imports {package}, which none of {(*others, *own)} has'
        for name, tree, others, own in files()
        for package in sorted(imported(tree))
        if names_of(*others, *own).isdisjoint(distributions(package))
    ]
    assert not missing, '\n'.join(missing)


def test_what_is_declared_is_imported():
    used = {key: set() for key in DECLARED}
    for name, tree, _, own in files():
        found = imported(tree) if name.startswith('tests') else mentioned(tree)
        for key in own:
            used[key].update(*map(distributions, found))
    unused = {n for key in used for n in names_of(key) - used[key]}
    assert unused == set(REASONS)


def test_pinned_packages_are_within_the_bounds():
    lines = (ROOT / 'requirements/constraints.txt').read_text().splitlines()
    pins = [Requirement(x) for x in lines if x and not x.startswith('#')]
    pinned = {r.name: next(iter(r.specifier)).version for r in pins}
    checked = [
        r for key in DECLARED for r in DECLARED[key] if r.name in pinned
    ]
    assert {r.name for r in checked} >= {'torch', 'numpy', 'mmpose', 'mmcv'}
    for requirement in checked:
        version = pinned[requirement.name]
        assert requirement.specifier.contains(version), requirement
