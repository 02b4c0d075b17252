"""The wheel, its metadata, and what mim finds in it."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from mim.utils import recursively_find
from modelindex.load_model_index import load as load_model_index

import mmpose_ext
from mmpose_ext.inference.shipped import LARGEST_FILE, LARGEST_TOTAL

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    'setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'README.md',
    'model-index.yml', 'requirements', 'mmpose_ext', 'configs', 'tools',
    'demo', 'benchmarks',
)  # fmt: skip
TASKS = ('Body 2D Keypoint', 'Instance Segmentation', 'Object Detection')
METHODS = sorted(p.parent for p in ROOT.glob('configs/*/metafile.yml'))


def files_of(folder, *suffixes):
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob('*')
        if path.suffix in suffixes
    }


def read_yaml(path):
    return yaml.safe_load((ROOT / path).read_text())


def run_python(*args, **kwargs):
    kwargs.setdefault('env', os.environ)
    result = subprocess.run(
        [sys.executable, *map(str, args)],
        capture_output=True,
        text=True,
        **kwargs,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel, built in a copy for the checkout to stay as it is."""
    copy = tmp_path_factory.mktemp('checkout')
    for name in filter(lambda name: (ROOT / name).exists(), SOURCES):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True)
        else:
            shutil.copy(ROOT / name, copy)
    # What an older build has left.
    old = copy / 'build/lib/mmpose_ext/removed.py'
    old.parent.mkdir(parents=True)
    old.touch()
    pip = ('-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation')
    run_python(*pip, '-w', copy / 'dist', copy, cwd=copy)
    (path,) = (copy / 'dist').glob('*.whl')
    return path


def test_wheel_holds_the_package_and_what_mim_needs(wheel):
    expected = files_of('mmpose_ext', '.py')
    expected |= files_of('mmpose_ext/weights', '.md', '.pth')
    expected |= {
        f'mmpose_ext/.mim/{name}'
        for name in (
            *files_of('configs', '.py', '.md', '.yml'),
            *files_of('tools', '.py'),
            *files_of('demo', '.py'),
            'model-index.yml',
        )
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f'mmpose_ext-{mmpose_ext.__version__}.dist-info/'
    names = {name for name in names if not name.startswith(info)}
    assert names == expected


def test_only_a_checkout_names_its_folder(wheel, tmp_path):
    """As ``python -m build`` does it: a wheel of a source distribution."""
    code = 'import setuptools.build_meta as b; print(b.build_sdist({!r}))'
    copy = wheel.parents[1]
    run_python('-c', code.format(str(tmp_path)), cwd=copy)
    (source,) = tmp_path.glob('*.tar.gz')
    pip = ('-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation')
    run_python(*pip, '--no-cache-dir', '-w', tmp_path, source)
    (published,) = tmp_path.glob('*.whl')
    stand_in = (copy / 'requirements/stand-ins/xtcocotools').as_uri()
    files = []
    for path, expected in ((wheel, True), (published, False)):
        with zipfile.ZipFile(path) as archive:
            files.append(sorted(archive.namelist()))
            (name,) = (x for x in files[-1] if x.endswith('/METADATA'))
            text = archive.read(name).decode()
        # Setuptools before 80 writes no space there.
        text = text.replace('xtcocotools@', 'xtcocotools @')
        assert (f'xtcocotools @ {stand_in}' in text) == expected
        assert ('file://' in text) == expected
    assert files[0] == files[1]


def test_mim_runs_a_tool_of_the_wheel(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    config = 'ram-gpr_hrnet-w32_4xb8-240e_coco-256x192'
    output = run_python(
        *('-m', 'mim', 'run', 'mmpose_ext', 'complexity', config),
        env=dict(
            os.environ, PYTHONPATH=str(tmp_path), PYTHONWARNINGS='ignore'
        ),
        cwd=tmp_path,
    )
    tool = f'{tmp_path}/mmpose_ext/.mim/tools/analysis/complexity.py'
    assert tool in output
    assert f'| {config} | 256x192 |' in output


def test_weights_are_small():
    sizes = {
        path.name: path.stat().st_size
        for path in (ROOT / 'mmpose_ext/weights').glob('*.pth')
    }
    assert {k: v for k, v in sizes.items() if v > LARGEST_FILE} == {}
    assert sum(sizes.values()) <= LARGEST_TOTAL


def test_mim_finds_one_config_by_its_base_name():
    for path in sorted(ROOT.glob('configs/**/*.py')):
        package = str(ROOT / 'mmpose_ext')
        found = recursively_find(package, path.name, followlinks=True)
        assert [os.path.realpath(f) for f in found] == [str(path)]


def test_links_of_the_checkout_are_relative():
    links = sorted((ROOT / 'mmpose_ext' / '.mim').iterdir())
    names = ['configs', 'demo', 'model-index.yml', 'tools']
    assert [link.name for link in links] == names
    for link in links:
        assert os.readlink(link) == f'../../{link.name}'
        assert link.exists()


def test_setup_imports_neither_torch_nor_the_package():
    code = (
        'import runpy, sys\n'
        'for name in ("torch", "mmengine", "mmpose", "mmpose_ext"):\n'
        '    sys.modules[name] = None  # importing it is an error\n'
        'sys.argv = ["setup.py", "--version"]\n'
        'runpy.run_path("setup.py", run_name="__main__")'
    )
    output = run_python('-c', code, cwd=ROOT).split()
    assert output[-1] == mmpose_ext.__version__


def test_one_version():
    citation = read_yaml('CITATION.cff')
    changelog = (ROOT / 'CHANGELOG.md').read_text()
    releases = re.findall(r'^## \[(\d\S+)\] - (\S+)$', changelog, re.MULTILINE)
    newest = (citation['version'], citation['date-released'])
    assert releases[0] == newest
    assert newest[0] == mmpose_ext.__version__


def test_citation():
    citation = read_yaml('CITATION.cff')
    assert citation['cff-version'] == '1.2.0'
    assert citation['type'] == 'software'
    assert citation['license'] == 'Apache-2.0'
    for work in (citation, *citation['references']):
        assert work['title'] and work['authors']
        for author in work['authors']:
            assert set(author) in ({'name'}, {'family-names', 'given-names'})
    assert citation['message']


def test_model_index_lists_the_models_of_every_method():
    index = load_model_index(str(ROOT / 'model-index.yml'))
    index.build_models_with_collections()
    names = [model.name for model in index.models]
    folders = {p.parent for p in ROOT.glob('configs/[!_]*/*.py')}
    assert folders == set(METHODS)
    configs = [p.stem for folder in METHODS for p in folder.glob('*.py')]
    assert sorted(names) == sorted(configs)


@pytest.mark.parametrize('method', METHODS, ids=lambda m: m.name)
def test_metafile_configs_and_readme_agree(method):
    metafile = yaml.safe_load((method / 'metafile.yml').read_text())
    collections = [c['Name'] for c in metafile['Collections']]
    readme = (method / 'README.md').read_text()
    configs = {p.relative_to(ROOT).as_posix() for p in method.glob('*.py')}
    assert {m['Config'] for m in metafile['Models']} == configs
    for model in metafile['Models']:
        path = ROOT / model['Config']
        assert model['Name'] == path.stem
        assert model['In Collection'] in collections
        assert f']({path.name})' in readme
        weights = f'mmpose_ext/weights/{path.stem}.pth'
        assert model.get('Weights') == (
            weights if (ROOT / weights).exists() else None
        )
        for result in model['Results']:
            assert result['Task'] in TASKS
            assert result['Dataset'] == model['Metadata']['Training Data']
            # None but our own, which a table of the README has.
            for value in result['Metrics'].values():
                assert re.search(rf'\|[ *]+{value}[ *]+\|', readme)
    for collection in metafile['Collections']:
        assert (ROOT / collection['README']).parent == method
        assert collection['Paper']['URL'].startswith('https://')
        assert collection['Paper']['Title']
        assert collection['Metadata']['Architecture']


def test_ci_runs_the_test_command_of_the_readme():
    script = ROOT / '.ci' / 'run'
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == 'exec make test'
    readme = (ROOT / 'README.md').read_text()
    assert 'make test' in readme and 'make demo' in readme
