"""Write classes.md and tools.md, two pages that are read off the code.

After a change to a registered class or to a command line, run this in the
root of the checkout: ``python -m docs.make_tables``. A test compares both
pages with the code.
"""

import argparse
import importlib
import inspect
import pkgutil
import re
import runpy
import sys
from pathlib import Path
from typing import Iterator, List, Tuple
from unittest.mock import patch

import mmpose_ext  # isort: skip  first, because it repairs what others import
import mmdet.registry
import mmpose.registry
from mmengine.fileio.backends import backends
from mmengine.registry import Registry

ROOT = Path(__file__).resolve().parents[1]
MADE = '<!-- Made by `python -m docs.make_tables`: do not edit. -->'
# Where a config names a class: by the first pattern that is found in its
# registry and full name.
PLACES = {
    r'\.backbones\.': 'model.backbone',
    r'\.necks\.': 'model.neck',
    r'RoIHead$': 'model.roi_head',
    r'KeypointHead$': 'model.roi_head.keypoint_head',
    r'\.heads\.': 'model.head',
    r'Context$': 'context',
    r'Norm2d$': 'norm_cfg',
    r'DCN$': 'dcn, conv_cfg',
    r'TTA$': 'tta_model',
    r'Estimator$': 'model',
    r'\.KEYPOINT_CODECS ': 'codec',
    r'\.TRANSFORMS ': 'pipeline',
    r'\.DATASETS ': 'dataset',
    r'\.METRICS ': 'val_evaluator, test_evaluator',
    r'\.HOOKS ': 'custom_hooks',
    r'_CONSTRUCTORS ': 'optim_wrapper.constructor',
    r'\.VISUALIZERS ': 'visualizer',
    r'^mmengine\.fileio ': 'backend_args.backend',
}


class HelpAsked(BaseException):
    """Carries the parser that was about to print its help."""


def as_cell(text: str) -> str:
    """Text of a docstring or of a help, for a cell of a Markdown table."""
    text = re.sub(r'`([^`<]+) <(\S+)>`_', r'[\1](\2)', ' '.join(text.split()))
    return re.sub(r':\w+:(?=`)', '', text).replace('``', '`').replace('|', '/')


def find_classes() -> Iterator[Tuple[str, str, type]]:
    """Registry, registered name and class of all that the package holds."""
    for module in pkgutil.walk_packages(mmpose_ext.__path__, 'mmpose_ext.'):
        importlib.import_module(module.name)
    named = {'mmengine.fileio': backends}
    for library in (mmpose.registry, mmdet.registry):
        for name, registry in vars(library).items():
            if isinstance(registry, Registry):
                name = f'{registry.scope}.{name.replace("MMENGINE_", "")}'
                named[name] = registry.module_dict
    for registry, classes in named.items():
        for name, cls in classes.items():
            if cls.__module__.startswith('mmpose_ext.'):
                yield registry, name, cls


def make_classes() -> str:
    rows = []
    for registry, name, cls in find_classes():
        found = f'{registry} {cls.__module__}.{name}'
        places = (p for regex, p in PLACES.items() if re.search(regex, found))
        summary = as_cell(inspect.getdoc(cls).split('\n\n')[0])
        where = f'`{registry}` | `{next(places, "see the class")}`'
        rows.append(f'| {where} | `{name}` | {summary} |')
    head = ['| registry | place in a config | class | what it is |']
    head += ['| --- | --- | --- | --- |']
    return '\n'.join([MADE, '', '# Classes', '', *head, *sorted(rows), ''])


def find_scripts() -> List[Path]:
    folders = (ROOT / name for name in ('benchmarks', 'demo', 'tools'))
    files = (path for folder in folders for path in folder.rglob('*.py'))
    return sorted(p for p in files if "'__main__'" in p.read_text())


def parser_of(script: Path) -> argparse.ArgumentParser:
    """What prints the help of a script."""

    def ask(parser, file=None):
        raise HelpAsked(parser)

    help_of = patch('argparse.ArgumentParser.print_help', ask)
    arguments = patch('sys.argv', [str(script), '--help'])
    path = patch('sys.path', [str(ROOT), *sys.path])
    # A default that differs between machines.
    device = patch('mmengine.device.utils.DEVICE', 'a GPU, or cpu without one')
    with help_of, arguments, path, device:
        try:
            if script.with_name('__init__.py').exists():
                module = f'{script.parent.name}.{script.stem}'
                runpy.run_module(module, run_name='__main__')
            else:
                runpy.run_path(str(script), run_name='__main__')
        except HelpAsked as e:
            return e.args[0]
    raise ValueError(f'{script} prints no help')


def make_row(action: argparse.Action) -> str:
    """An argument as it is written, such as ``--shape H W``, and its help."""
    names = ', '.join(action.option_strings)
    metavar = action.metavar or (action.dest.upper() if names else action.dest)
    if action.choices and not action.metavar:
        metavar = ' or '.join(map(str, action.choices))
    if isinstance(action.nargs, int):
        single = [metavar] * action.nargs
        value = ' '.join(metavar if isinstance(metavar, tuple) else single)
    else:
        forms = {'?': '[{}]', '*': '[{} ...]', '+': '{} ...', None: '{}'}
        value = forms[action.nargs].format(metavar)
    text = as_cell((action.help or '') % vars(action))
    if names and action.required:
        text = f'required; {text}'
    default = action.default
    shown = default not in (None, [], {}) and not isinstance(default, bool)
    if shown and 'default' not in text:
        several = isinstance(default, (list, tuple))
        default = ' '.join(map(str, default)) if several else default
        text = f'{text} (default: {default})'.strip()
    return f'| `{" ".join([names, value]).strip()}` | {text} |'


def make_tools() -> str:
    head, lines = ['| tool | what it does |', '| --- | --- |'], []
    for script in find_scripts():
        parser = parser_of(script)
        name = script.relative_to(ROOT).as_posix()
        description = parser.description.strip()
        summary, *_ = description.split('\n\n')
        head.append(f'| `{name}` | {as_cell(summary)} |')
        lines += ['', f'## {name}', '', '```text', description, '```', '']
        lines += ['| argument | meaning |', '| --- | --- |']
        for action in parser._actions[1:]:  # the first is --help
            if action.help != argparse.SUPPRESS:
                lines.append(make_row(action))
        if parser.epilog:
            lines += ['', parser.epilog]
    return '\n'.join([MADE, '', '# Tools', '', *head, *lines, ''])


def make_readme() -> str:
    """The README, with its table of papers after the methods' READMEs."""
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    rows = []
    for path in sorted(ROOT.glob('configs/*/README.md')):
        parts = path.read_text(encoding='utf-8').split('\n\n')
        title, paper, summary = map(as_cell, parts[:3])
        if paper.startswith('> '):
            link = f'[{title[2:]}]({path.relative_to(ROOT).as_posix()})'
            paper = paper.replace('> ', '')
            rows.append(f'| {link} | {paper} | {summary.split(". ")[0]} |')
    table = f'(?<=\n){re.escape(MADE)}\n.*?\n\n'
    head = f'{MADE}\n| method | paper | in short |\n| --- | --- | --- |\n'
    made = head + '\n'.join(rows) + '\n\n'
    return re.sub(table, lambda _: made, text, flags=re.DOTALL)


PAGES = {
    'README.md': make_readme,
    'docs/classes.md': make_classes,
    'docs/tools.md': make_tools,
}

if __name__ == '__main__':
    for page, make in PAGES.items():
        (ROOT / page).write_text(make(), encoding='utf-8')
