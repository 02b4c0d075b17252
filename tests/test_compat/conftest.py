import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='session')
def run_python():
    """Run Python in a process, with this project to be imported."""

    def run(*args, **env):
        env = {**os.environ, 'OMP_NUM_THREADS': '1', **env}
        path = [env.get('PYTHONPATH', ''), str(ROOT)]
        env['PYTHONPATH'] = os.pathsep.join(filter(None, path))
        return subprocess.run(
            [sys.executable, *args],
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
