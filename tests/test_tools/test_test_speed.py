"""tools/analysis/test_speed.py, with tools that only pretend to run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmpose_ext.analysis.records import read_records

SCRIPT = 'tools/analysis/test_speed.py'
# Of the one batch of the tiny config, by tool.
SECONDS = {'ours': 0.5, 'mmpose': 2.0}


@pytest.fixture
def commands(monkeypatch):
    """The commands that are run; they write what MMEngine does."""
    found = []

    def run(command, env, **kwargs):
        found.append((command, env))
        work_dir = command[command.index('--work-dir') + 1]
        tool = 'mmpose' if '.mim' in command[1] else 'ours'
        folder = Path(work_dir, '20200101_000000')
        folder.mkdir(parents=True)
        scalars = dict(time=SECONDS[tool], data_time=0.1)
        (folder / f'{folder.name}.json').write_text(json.dumps(scalars))
        return subprocess.CompletedProcess(command, 0, '', '')

    monkeypatch.setattr(subprocess, 'run', run)
    return found


def options_of(command):
    if '--cfg-options' not in command:
        return []
    words = command[command.index('--cfg-options') + 1 :]
    return words[: words.index('--work-dir')]


def test_both_tools_run_in_turns(tiny_config, run_script, commands, tmp_path):
    out, log = tmp_path / 'out.json', tmp_path / 'log.jsonl'
    status, stdout, _ = run_script(
        SCRIPT, tiny_config, '--rounds', 2, '--threads', 1,
        '--cfg-options', 'test_dataloader.batch_size=4', 'model.neck=None',
        '--against-options', 'model.backbone.depth=34',
        '--out', out, '--log', log, '--title', 'toy',
    )  # fmt: skip
    assert status == 0
    tools = ['ours', 'mmpose'] * 2
    assert ['mmpose' if '.mim' in c[1] else 'ours' for c, _ in commands] == (
        tools
    )
    common = ['test_dataloader.batch_size=4', 'model.neck=None']
    for (command, env), tool in zip(commands, tools):
        assert command[0] == sys.executable
        assert command[2] == str(tiny_config)
        assert env['OMP_NUM_THREADS'] == '1'
        own = ['model.backbone.depth=34'] if tool == 'mmpose' else []
        assert options_of(command) == common + own
    checkpoints = {command[3] for command, _ in commands}
    assert len(checkpoints) == 2

    result = json.loads(out.read_text())
    ours, mmpose = result['results']
    batches = -(-ours['images'] // 4)
    assert ours['images'] == mmpose['images'] > 4
    assert ours['seconds'] == [0.5 * batches] * 2
    assert mmpose['median'] == 2.0 * batches
    assert ours['ratio'] == 0.25
    assert result['settings'] == dict(rounds=2, batch=4, workers=0, threads=1)
    assert f'{ours["images"] / ours["median"]:.1f}' in stdout
    assert '4.00' in stdout
    (record,) = read_records(log)
    assert record['title'] == 'toy' and record['section'] == 'Test'
    assert [r['images'] for r in record['results']] == [ours['images']] * 2


def test_the_same_config_has_the_same_weights(
    tiny_config, run_script, commands, tmp_path
):
    weights = tmp_path / 'weights.pth'
    torch.save({}, weights)
    args = [SCRIPT, tiny_config, '--checkpoint', weights, '--rounds', 1]
    assert run_script(*args)[0] == 0
    assert [command[3] for command, _ in commands] == [str(weights)] * 2


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (
            ['--rounds', 0],
            "--rounds: expected a whole number above zero, got '0'",
        ),
        (
            ['--threads', -1],
            "--threads: expected a whole number above zero, got '-1'",
        ),
        (['--checkpoint', 'none.pth'], "'none.pth' does not exist"),
        (['--against', 'none.py'], "config 'none.py' does not exist"),
        (['--log', 'log.jsonl'], '--log needs a --title'),
        (
            ['--against-options', 'test_dataloader.num_workers=1'],
            'differ in num_workers: 0 of ours: tiny, 1 of MMPose: tiny',
        ),
    ],
)
def test_bad_input(args, message, tiny_config, run_script, commands):
    status, _, stderr = run_script(SCRIPT, tiny_config, *args)
    assert status == 2
    assert message in ' '.join(stderr.split())
    assert commands == []


def test_a_command_that_fails_is_told(tiny_config, run_script, monkeypatch):
    monkeypatch.setattr(
        subprocess,
        'run',
        lambda command, **_: subprocess.CompletedProcess(
            command, 1, '', 'Traceback\nKeyError: 7\n'
        ),
    )
    status, _, stderr = run_script(SCRIPT, tiny_config)
    assert status == 2
    assert 'ours: tiny: the command ended with exit status 1: KeyError: 7' in (
        ' '.join(stderr.split())
    )
