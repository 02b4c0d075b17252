"""The documents name what there is, and the generated pages are current."""

import importlib
import re
import runpy
from pathlib import Path

import mmpose
import pytest
import torch
from mmengine.config import Config
from mmpose.registry import MODELS

import mmpose_ext  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path
    for pattern in (
        '*.md',
        'docs/*.md',
        'benchmarks/*.md',
        'configs/*/README.md',
        'mmpose_ext/weights/README.md',
    )
    for path in ROOT.glob(pattern)
    if path.name != 'CHANGELOG.md'  # names what once was, too
)
TABLES = runpy.run_path(str(ROOT / 'docs/make_tables.py'))
# A path of this repository, which may be a glob.
PATH = re.compile(
    r'(?<![\w./:-])((?:benchmarks|configs|demo|docs|mmpose_ext|requirements|'
    r'tests|tools)/[\w./*-]*[\w*])'
)
COMMAND = re.compile(
    r'(?:python (?:-m torch\S+ .*?)?((?:tools|demo)/\S+)\.py|'
    r'python -m (benchmarks\.\w+)|mim run mmpose_ext (\w+))(.*)'
)


def resolve(name):
    """The module, class or function of a dotted name."""
    module, *attributes = name.split('.')
    found = importlib.import_module(module)
    for attribute in attributes:
        module = f'{module}.{attribute}'
        if not hasattr(found, attribute):
            importlib.import_module(module)
        found = getattr(found, attribute)
    return found


@pytest.mark.parametrize('page', TABLES['PAGES'])
def test_generated_pages_are_current(page):
    made = TABLES['PAGES'][page]()
    assert '|  |' not in made, 'an argument or a class without a word on it'
    again = 'python -m docs.make_tables'
    assert (ROOT / page).read_text() == made, f'run {again}'


def test_links_lead_to_files():
    for document in DOCUMENTS:
        for link in re.findall(r'\]\(([^)\s]+)\)', document.read_text()):
            local = document.parent / link.partition('#')[0]
            assert '://' in link or local.exists(), f'{document}: {link}'


def test_paths_exist():
    for document in DOCUMENTS:
        for path in PATH.findall(document.read_text()):
            assert list(ROOT.glob(path)), f'{document}: {path}'


def test_configs_exist():
    """Of names such as ram_hrnet-w32_4xb8-240e_coco-256x192."""
    folders = (ROOT / 'configs', Path(mmpose.__file__).parent / '.mim/configs')
    stems = {p.stem for folder in folders for p in folder.rglob('*.py')}
    checked = set()
    for document in DOCUMENTS:
        text = document.read_text()
        checked |= set(re.findall(r'(?<![\w-])[\w.-]+_\d+xb\d+-[\w-]+', text))
    assert len(checked) > 40 and checked <= stems


def test_dotted_names_can_be_imported():
    names = {
        name
        for document in DOCUMENTS
        for name in re.findall(r'\bmmpose_ext(?:\.\w+)+', document.read_text())
    }
    assert len(names) > 5
    for name in names:
        resolve(name)


def test_options_of_commands_exist():
    parsers, checked = {}, 0
    for document in DOCUMENTS:
        text = document.read_text().replace('\\\n', ' ')
        for path, module, tool, options in COMMAND.findall(text):
            path = path or module.replace('.', '/') or f'tools/{tool}'
            if path not in parsers:
                parsers[path] = TABLES['parser_of'](ROOT / f'{path}.py')
            known = parsers[path]._option_string_actions
            for option in re.findall(r'\s(--[\w-]+)', options):
                assert option in known, f'{document}: {path} {option}'
                checked += 1
    assert checked > 50


def test_config_of_the_readme_builds(tmp_path):
    code = re.search(
        '```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.S
    )
    path = tmp_path / 'config.py'
    path.write_text(code[1])
    model = MODELS.build(Config.fromfile(path).model)
    heatmaps = model(torch.zeros(1, 3, 64, 64), None, mode='tensor')
    assert type(model.neck).__name__ == 'GPRNeck'
    assert heatmaps.shape == (1, 17, 16, 16)
