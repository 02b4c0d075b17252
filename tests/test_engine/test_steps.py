import sys

import pytest

from mmpose_ext.engine.steps import run_step


def test_a_step_is_run_once(tmp_path):
    result = tmp_path / 'result'
    script = f'open({str(result)!r}, "a").write("x")'
    for _ in range(2):
        run_step('step', result, sys.executable, '-c', script)
    assert result.read_text() == 'x'


@pytest.mark.parametrize(
    ('script', 'message'),
    [
        ('exit(3)', '"step" ended with exit status 3 and without'),
        ('open("r", "w"); exit(3)', 'ended with exit status 3$'),
        ('pass', '"step" ended with exit status 0 and without'),
    ],
)
def test_a_step_that_fails_ends_the_job(
    script, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        run_step('step', tmp_path / 'r', sys.executable, '-c', script)
