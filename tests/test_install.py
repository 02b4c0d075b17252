"""The set-up of `make demo` and `make test`, with a make-believe Python."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STEPS = (
    'venv', 'torch', 'mmcv', 'openmmlab', 'package', 'deploy', 'tests',
)  # fmt: skip

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
*"version_info"*) echo "${VERSION:-3.11}" ;;
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
        env=env,
        cwd=checkout.parent,
        capture_output=True,
        text=True,
    )
    lines = calls.read_text().splitlines() if calls.exists() else []
    pip = [x.partition('-m pip ')[2].strip() for x in lines if '-m pip' in x]
    return result.returncode, result.stdout + result.stderr, pip


def test_order_and_constraints_of_the_steps(checkout):
    status, output, pip = install(checkout, *STEPS)
    assert status == 0, output
    constrained = 'install -c requirements/constraints.txt '
    assert all(call.startswith(constrained) for call in pip)
    assert [call.removeprefix(constrained) for call in pip] == [
        '-U pip setuptools wheel',
        'torch numpy ninja psutil cython',
        '-v --no-build-isolation mmcv',
        '--no-build-isolation chumpy',
        '--no-build-isolation mmpose mmdet openmim',
        '--no-deps --no-build-isolation --force-reinstall .',
        '-r requirements/deploy.txt',
        '-r requirements/tests.txt',
    ]
    assert 'Compiling mmcv (the first time 7-10 min on 2 cores)' in output
    assert output.count(' s\n') == len(STEPS)
    # Finished steps are skipped.
    assert install(checkout, *STEPS) == (0, '', [])


@pytest.mark.parametrize('step', ['torch', 'chumpy', 'force-reinstall'])
def test_goes_on_where_it_stopped(checkout, step):
    status, output, before = install(checkout, *STEPS, FAIL=step)
    assert status == 1
    assert f'cannot do -m pip {before[-1]}' in output
    assert 'Run the same make command again' in output
    assert step in before[-1]
    status, output, after = install(checkout, *STEPS)
    assert status == 0, output
    shutil.rmtree(checkout / '.venv')
    whole = install(checkout, *STEPS)[2]
    position = whole.index(after[0])
    assert whole[position:] == after
    # The failed step, which may have several calls, is run again as a whole.
    assert whole[:position] == before[:position]
    assert before[-1] in after


def test_mmcv_without_operators_is_compiled_again(checkout):
    """pip's cache may hold an mmcv that was made without them."""
    _, _, pip = install(checkout, 'venv', 'torch', 'mmcv', FAIL='mmcv.ops')
    assert [call.split()[0] for call in pip] == [
        'install', 'install', 'install', 'uninstall', 'cache', 'install'
    ]  # fmt: skip
    assert pip[3:5] == ['uninstall -y mmcv', 'cache remove mmcv']
    assert pip[2] == pip[5]


def test_package_is_installed_again_after_a_change(checkout):
    install(checkout, 'venv', 'package')
    leftover = checkout / 'build' / 'lib' / 'mmpose_ext' / 'removed.py'
    for change in (
        lambda: (checkout / 'configs' / 'file.py').write_text('2\n'),
        lambda: (checkout / 'mmpose_ext' / 'new.py').touch(),
        lambda: (checkout / 'tools' / 'file.py').unlink(),
    ):
        change()
        leftover.parent.mkdir(parents=True)
        leftover.touch()
        _, output, pip = install(checkout, 'venv', 'package')
        assert len(pip) == 1 and pip[0].endswith(' .'), output
        assert not (checkout / 'build').exists()
    # Caches are no change.
    (checkout / 'tools' / '__pycache__').mkdir()
    (checkout / 'tools' / '__pycache__' / 'file.pyc').touch()
    assert install(checkout, 'venv', 'package')[2] == []


def test_other_constraints_mean_another_stack(checkout):
    install(checkout, *STEPS)
    with open(checkout / 'requirements' / 'constraints.txt', 'a') as file:
        file.write('scipy<2\n')
    _, _, pip = install(checkout, *STEPS)
    assert len(pip) == 7  # all but the package itself


@pytest.mark.parametrize(
    'env, message',
    [
        (dict(PYTHON='python0'), "no working 'python0' on this machine"),
        (dict(VERSION='3.8'), "'./python' is Python 3.8; the pinned"),
        (dict(FAIL='ensurepip'), 'apt install python3.11-venv'),
        (dict(CXX='false'), "'false' cannot compile C++17"),
    ],
)
def test_what_the_machine_lacks(checkout, env, message):
    env = {**dict(PYTHON='./python', CXX='true'), **env}
    result = subprocess.run(
        ['bash', 'requirements/install.sh', *STEPS],
        env={**os.environ, **env},
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.startswith('error: ') and message in result.stderr
    assert not (checkout / '.venv').exists()


def test_style_needs_no_compiler(checkout):
    status, output, _ = install(checkout, 'venv', 'tests', CXX='false')
    assert status == 0, output


@pytest.mark.parametrize('text', ['echo 3.10', 'exit 1'])
def test_venv_of_another_python_or_broken(checkout, text):
    install(checkout, 'venv')
    (checkout / '.venv' / 'bin' / 'python').write_text(f'#!/bin/sh\n{text}\n')
    if 'echo' in text:  # interrupted before
        (checkout / '.venv' / '.done-venv').unlink()
    status, output, pip = install(checkout, 'venv', 'torch')
    assert status == 1 and 'to start over: rm -r .venv' in output
    assert not pip


def test_unknown_step(checkout):
    status, output, _ = install(checkout, 'everything')
    assert status == 1 and "no step 'everything'" in output
