import json
from functools import partial

import pytest

RECORD = dict(
    date='2026-01-02T03:04:05Z',
    section='Codecs',
    title='Targets',
    command='python tools/analysis/benchmark.py encode:a encode:b',
    kind='time',
    settings={},
    machine=dict(cpu='EPYC', threads=2),
    mmpose_ext='1.0',
    results=[
        dict(name='encode:a', median=0.5, q1=0.4, q3=0.6, ratio=0.5),
        dict(name='encode:b', median=1.0, q1=0.9, q3=1.1, ratio=1),
    ],
)


@pytest.fixture
def run(run_script):
    return partial(run_script, 'tools/analysis/benchmark_page.py')


@pytest.fixture
def log(tmp_path):
    path = tmp_path / 'log.jsonl'
    path.write_text(json.dumps(RECORD) + '\n')
    return path


def test_page(run, log, tmp_path):
    out = tmp_path / 'docs' / 'page.md'
    status, stdout, _ = run(log, '--out', out)
    assert status == 0 and stdout == f'1 results: {out}\n'
    page = out.read_text()
    assert '## Codecs\n\n### Targets\n' in page
    assert '| `encode:a` | 500.0 | 400.0 to 600.0 | 0.5 |' in page
    assert str(tmp_path) not in page


def test_page_is_made_again(run, log, tmp_path):
    out = tmp_path / 'page.md'
    assert run(log, '--out', out)[0] == 0
    first = out.read_text()
    newer = dict(RECORD, title='Others')
    log.write_text(log.read_text() + json.dumps(newer) + '\n')
    assert run(log, '--out', out)[0] == 0
    assert '### Others' in out.read_text() and '### Others' not in first


def test_page_of_someone_else_stays(run, log, tmp_path):
    out = tmp_path / 'page.md'
    out.write_text('# Mine\n')
    status, _, stderr = run(log, '--out', out)
    assert status == 2 and 'is no page of benchmarks' in stderr
    assert out.read_text() == '# Mine\n'
    assert run(log, '--out', out, '--overwrite')[0] == 0
    page = out.read_text()
    assert '### Targets' in page and '--overwrite' not in page


def test_broken_log(run, log, tmp_path):
    out = tmp_path / 'page.md'
    log.write_text(log.read_text() + '{"date": "20')
    status, _, stderr = run(log, '--out', out)
    assert status == 2 and 'error: line 2 of benchmark log' in stderr
    assert not out.exists()
    status, _, stderr = run(tmp_path / 'none', '--out', out)
    assert status == 2 and 'does not exist' in stderr
