import json
import runpy
import shlex
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest

from mmpose_ext.analysis.records import append_record, read_records
from mmpose_ext.analysis.suite import SUITE

CODECS = [b for b in SUITE if b.section == 'Codecs']


@pytest.fixture
def run(run_script, tmp_path):
    paths = (
        '--log',
        tmp_path / 'log.jsonl',
        '--out',
        tmp_path / 'page.md',
    )
    return partial(run_script, 'tools/analysis/benchmark_suite.py', *paths)


@pytest.fixture
def benchmarks(monkeypatch):
    """Commands that run; those of benchmarks make up their result."""
    commands, failing = [], set()

    def run(command):
        commands.append(command)
        options = dict(zip(command[-6::2], command[-5::2]))
        if options['--title'] in failing:
            return SimpleNamespace(returncode=1)
        result = dict(name='a', median=1.0, q1=1.0, q3=1.0, ratio=1)
        append_record(
            options['--log'],
            dict(
                date='2026-01-02T03:04:05Z',
                section=options['--section'],
                title=options['--title'],
                command='python x',
                kind='time',
                settings={},
                machine={},
                mmpose_ext='1.0',
                results=[result],
            ),
        )
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, 'run', run)
    return SimpleNamespace(commands=commands, failing=failing)


def test_all_commands_are_those_of_the_tool(run, monkeypatch, tmp_path):
    status, stdout, _ = run('--list')
    assert status == 0
    commands = [shlex.split(line) for line in stdout.splitlines()]
    assert len(commands) == len(SUITE)
    parsers = {}
    for command, benchmark in zip(commands, SUITE):
        if command[1] not in parsers:
            parsers[command[1]] = runpy.run_path(command[1])['parse_args']
        parse_args = parsers[command[1]]
        assert command[0] == sys.executable
        monkeypatch.setattr(sys, 'argv', command[1:])
        args = parse_args()
        assert args.title == benchmark.title
        assert args.section == benchmark.section
        assert args.log == str(tmp_path / 'log.jsonl')
        assert args.threads == 2
        assert args.config if 'config' in args else args.specs
    assert not (tmp_path / 'log.jsonl').exists()


def test_a_section_and_its_page(run, benchmarks, tmp_path):
    status, stdout, _ = run('Codecs')
    assert status == 0 and f'1 of {len(CODECS)}' in stdout
    records = read_records(tmp_path / 'log.jsonl')
    assert [r['title'] for r in records] == [b.title for b in CODECS]
    page = (tmp_path / 'page.md').read_text()
    assert all(f'### {b.title}\n' in page for b in CODECS)


def test_resume(run, benchmarks, tmp_path):
    benchmarks.failing.add(CODECS[0].title)
    status, _, stderr = run('Codecs')
    assert status == 2
    assert f'{CODECS[0].title} (exit status 1)' in ' '.join(stderr.split())
    # The others have run, and the page shows them.
    assert len(benchmarks.commands) == len(CODECS)
    assert CODECS[1].title in (tmp_path / 'page.md').read_text()

    benchmarks.failing.clear()
    benchmarks.commands.clear()
    assert run('Codecs', '--resume')[0] == 0
    (command,) = benchmarks.commands
    assert CODECS[0].title in command
    assert CODECS[0].title in (tmp_path / 'page.md').read_text()
    # Without it, all run again, and the page shows the latest.
    benchmarks.commands.clear()
    assert run('Codecs')[0] == 0
    assert len(benchmarks.commands) == len(CODECS)


def test_wrong_section(run, benchmarks):
    status, _, stderr = run('Codec')
    assert status == 2 and "no section 'Codec'" in stderr
    assert "did you mean 'Codecs'" in stderr
    assert not benchmarks.commands


def test_broken_log(run, benchmarks, tmp_path):
    (tmp_path / 'log.jsonl').write_text(json.dumps({}) + '\n')
    status, _, stderr = run()
    assert status == 2 and 'line 1 of benchmark log' in stderr
    assert not benchmarks.commands


def test_page_of_someone_else_is_told_before_the_work(
    run, benchmarks, tmp_path
):
    (tmp_path / 'page.md').write_text('# Mine')
    status, _, stderr = run('Codecs')
    assert status == 2 and 'is no page of benchmarks' in stderr
    assert not benchmarks.commands
