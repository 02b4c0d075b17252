"""The set-up of `make demo` and `make test`, with a make-believe Python."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STEPS = ('package', 'deploy', 'tests')
CONSTRAINED = 'install --no-compile -c requirements/constraints.txt '
OLD_NUMPY = "numpy<2; python_version < '3.12' "

# Notes what it is asked for; fails where $FAIL (a regular expression) says
# so, once.
PYTHON = """#!/bin/sh
echo "$*" | tr '\\n' ' ' >> calls; echo >> calls
if [ -n "$FAIL" ] && [ ! -e failed ] && echo "$*" | grep -q "$FAIL"; then
    touch failed
    echo "cannot do $*"
    exit 1
fi
case "$*" in
*"version_info"*)
    echo "${VERSION:-3.11}"
    case "${VERSION:-3.11}" in 3.1[0-3]) ;; *) exit 1 ;; esac ;;
"-m pip --version") [ "$0" != "./python" ] ;;
*get_path*) echo /usr/include ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder whose name has a space, with what the set-up reads."""
    folder = tmp_path / 'my checkout'
    folder.mkdir()
    shutil.copytree(ROOT / 'requirements', folder / 'requirements')
    for name in ('mmpose_ext', 'configs', 'tools', 'demo'):
        (folder / name).mkdir()
        (folder / name / 'file.py').write_text('1\n')
    for name in ('setup.py', 'model-index.yml', 'README.md'):
        shutil.copy(ROOT / name, folder)
    (folder / 'python').write_text(PYTHON)
    (folder / 'python').chmod(0o755)
    return folder


def install(checkout, *steps, **env):
    """Run steps; return exit status, output, and the calls of pip."""
    calls = checkout / 'calls'
    calls.unlink(missing_ok=True)
    env = {**os.environ, 'PYTHON': './python', 'CXX': 'true', **env}
    result = subprocess.run(
        ['bash', checkout / 'requirements' / 'install.sh', *steps],
        env={'MMCV': '', **env},
        cwd=checkout.parent,
        capture_output=True,
        text=True,
    )
    lines = calls.read_text().splitlines() if calls.exists() else []
    lines = [line for line in lines if '-m pip --version' not in line]
    pip = [x.partition('-m pip ')[2].strip() for x in lines if '-m pip' in x]
    return result.returncode, result.stdout + result.stderr, pip


def test_order_and_constraints_of_the_steps(checkout):
    status, output, pip = install(checkout, *STEPS)
    assert status == 0, output
    assert all(call.startswith(CONSTRAINED) for call in pip)
    assert [call.removeprefix(CONSTRAINED) for call in pip] == [
        '-U pip setuptools wheel',
        '--no-build-isolation .[all]',
        '-r requirements/deploy.txt',
        '-r requirements/tests.txt',
    ]
    assert output.count(' s\n') == 1 + len(STEPS)
    # Finished steps are skipped.
    assert install(checkout, *STEPS) == (0, '', [])


def test_steps_with_a_compiled_mmcv(checkout):
    status, output, pip = install(checkout, *STEPS, MMCV='compiled')
    assert status == 0, output
    constrained = CONSTRAINED + OLD_NUMPY
    assert all(call.startswith(constrained) for call in pip)
    assert [call.removeprefix(constrained) for call in pip] == [
        '-U pip setuptools wheel',
        'torch numpy ninja psutil cython',
        '-v --no-build-isolation mmcv',
        '--no-build-isolation .[compiled]',
        '-r requirements/deploy.txt',
        '-r requirements/tests.txt',
    ]
    assert 'Compiling mmcv (the first time 7-10 min on 2 cores)' in output
    # What is there is kept, unless it is told otherwise.
    assert install(checkout, *STEPS) == (0, '', [])
    assert install(checkout, *STEPS, MMCV='compiled') == (0, '', [])


@pytest.mark.parametrize(
    'kind, other', [('lite', 'compiled'), ('compiled', 'lite')]
)
def test_venv_of_the_other_kind(checkout, kind, other):
    assert install(checkout, 'package', MMCV=kind)[0] == 0
    status, output, pip = install(checkout, 'package', MMCV=other)
    assert status == 1 and not pip
    assert output == (
        f'error: .venv is of the kind MMCV={kind}, not {other}; '
        'to start over: rm -r .venv\n'
    )


@pytest.mark.parametrize(
    'step, env',
    [
        ('[all]', {}),
        ('deploy', {}),
        (' torch', dict(MMCV='compiled')),
        ('[compiled]', dict(MMCV='compiled')),
    ],
)
def test_goes_on_where_it_stopped(checkout, step, env):
    status, output, before = install(
        checkout, *STEPS, **env, FAIL=f'm pip.*{re.escape(step)}'
    )
    assert status == 1
    assert f'cannot do -m pip {before[-1]}' in output
    assert 'Run the same make command again' in output
    assert step in before[-1]
    status, output, after = install(checkout, *STEPS, **env)
    assert status == 0, output
    shutil.rmtree(checkout / '.venv')
    whole = install(checkout, *STEPS, **env)[2]
    position = whole.index(after[0])
    assert whole[position:] == after
    # The failed step, which may have several calls, is run again as a whole.
    assert whole[:position] == before[:position]
    assert before[-1] in after


def test_mmcv_without_operators_is_compiled_again(checkout):
    """pip's cache may hold an mmcv that was made without them."""
    env = dict(MMCV='compiled', FAIL='mmcv.ops')
    _, _, pip = install(checkout, 'package', **env)
    pip = [call.removeprefix(CONSTRAINED + OLD_NUMPY) for call in pip]
    compiled = '-v --no-build-isolation mmcv'
    again = ['uninstall -y mmcv', 'cache remove mmcv', compiled]
    assert pip[2:-1] == [compiled, *again]


def test_a_compiled_mmcv_in_a_venv_made_by_hand_stays(checkout):
    part = checkout / '.venv/lib/python3.11/site-packages/mmcv/_ext.so'
    part.parent.mkdir(parents=True)
    part.touch()
    _, output, pip = install(checkout, 'package')
    assert pip[-1].endswith(' .[compiled]'), output


def test_an_interrupted_set_up_stays_of_its_kind(checkout):
    stopped = install(checkout, 'package', MMCV='compiled', FAIL=' torch')
    assert stopped[0] == 1
    _, output, pip = install(checkout, 'package')
    assert pip[-1].endswith(' .[compiled]'), output


def test_package_is_installed_again_after_a_change(checkout):
    install(checkout, 'package')
    leftover = checkout / 'build' / 'lib' / 'mmpose_ext' / 'removed.py'
    for change in (
        lambda: (checkout / 'configs' / 'file.py').write_text('2\n'),
        lambda: (checkout / 'mmpose_ext' / 'new.py').touch(),
        lambda: (checkout / 'tools' / 'file.py').unlink(),
    ):
        change()
        leftover.parent.mkdir(parents=True)
        leftover.touch()
        _, output, pip = install(checkout, 'package')
        assert len(pip) == 1 and pip[0].endswith(' .[all]'), output
        assert not (checkout / 'build').exists()
    # Caches are no change.
    (checkout / 'tools' / '__pycache__').mkdir()
    (checkout / 'tools' / '__pycache__' / 'file.pyc').touch()
    assert install(checkout, 'package')[2] == []


def test_other_constraints_mean_another_stack(checkout):
    install(checkout, *STEPS)
    with open(checkout / 'requirements' / 'constraints.txt', 'a') as file:
        file.write('scipy<2\n')
    _, _, pip = install(checkout, *STEPS)
    assert len(pip) == 4


def test_finds_a_python(checkout, tmp_path):
    """The first that works: a shim may be there for one that is not."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name, text in {
        'python3.11': '#!/bin/sh\nexit 127\n',
        'python3.12': PYTHON.replace('VERSION:-3.11', 'VERSION:-3.12'),
        'python3.13': PYTHON,
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    path = f'{folder}:{os.environ["PATH"]}'
    status, output, _ = install(checkout, 'tests', PYTHON='', PATH=path)
    assert status == 0, output
    there = (checkout / '.venv' / 'bin' / 'python').read_text()
    assert there == (folder / 'python3.12').read_text()


@pytest.mark.parametrize(
    'env, message',
    [
        (dict(PYTHON='python0'), '(tried: python0)'),
        (dict(VERSION='3.8'), 'no Python 3.10 to 3.13 that can'),
        (dict(VERSION='3.14'), 'no Python 3.10 to 3.13 that can'),
        (dict(FAIL='ensurepip'), 'apt install python3 python3-venv'),
        (dict(CXX='false', MMCV='compiled'), "'false' cannot compile C++17"),
        (dict(MMCV='full'), "MMCV is lite or compiled, not 'full'"),
    ],
)
def test_what_the_machine_lacks(checkout, env, message):
    status, output, pip = install(checkout, *STEPS, **env)
    assert status == 1 and not pip
    assert output.startswith('error: ') and message in output
    assert not (checkout / '.venv').exists()


@pytest.mark.parametrize('env', [{}, dict(MMCV='lite')])
def test_needs_no_compiler(checkout, env):
    status, output, _ = install(checkout, *STEPS, **env, CXX='false')
    assert status == 0, output


@pytest.mark.parametrize(
    'env, done, text',
    [
        ({}, True, 'echo 3.12'),
        ({}, False, 'echo 3.10'),  # interrupted before
        (dict(PYTHON=''), True, 'exit 1'),
    ],
)
def test_venv_of_another_python_or_broken(checkout, env, done, text):
    install(checkout, 'tests')
    (checkout / '.venv' / 'bin' / 'python').write_text(f'#!/bin/sh\n{text}\n')
    if not done:
        (checkout / '.venv' / '.done-venv').unlink()
    status, output, pip = install(checkout, 'package', **env)
    assert status == 1 and 'to start over: rm -r .venv' in output
    assert not pip


def test_unknown_step(checkout):
    status, output, _ = install(checkout, 'everything')
    assert status == 1 and "no step 'everything'" in output
