import json
import re
import shlex

import pytest

from mmpose_ext.analysis import records
from mmpose_ext.analysis.records import (
    append_record,
    check_log,
    command_line,
    quote,
    read_records,
    without_absolute_paths,
)
from mmpose_ext.errors import InputError

TOOL = 'tools/analysis/benchmark.py'


def make_record(**changes):
    result = dict(name='a', median=1.0, q1=1.0, q3=1.5, ratio=1)
    record = dict(
        date='2026-01-02T03:04:05Z',
        section='Codecs',
        title='Targets',
        command=f'python {TOOL} a b',
        kind='time',
        settings={},
        machine=dict(cpu='EPYC'),
        mmpose_ext='1.0',
        results=[result],
    )
    return dict(record, **changes)


def test_records_are_read_as_they_were_appended(tmp_path):
    log = tmp_path / 'new' / 'log.jsonl'
    check_log(log)
    written = [make_record(title=t) for t in ('a', 'b\nü', 'c')]
    for record in written:
        append_record(log, record)
    assert read_records(log) == written
    assert log.read_text().count('\n') == 3


def test_an_empty_log_can_be_used(tmp_path):
    log = tmp_path / 'log.jsonl'
    log.touch()
    append_record(log, make_record())
    assert len(read_records(log)) == 1


def test_line_that_was_cut_off(tmp_path):
    log = tmp_path / 'log.jsonl'
    for _ in range(2):
        append_record(log, make_record())
    log.write_bytes(log.read_bytes()[:-20])
    message = 'line 2 of .* is cut off, as by .*: remove it, and run its'
    with pytest.raises(InputError, match=message):
        read_records(log)
    whole = log.read_bytes()
    with pytest.raises(InputError, match=message):
        append_record(log, make_record())
    assert log.read_bytes() == whole


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{', 'no JSON: remove or mend it'),
        ('[]', 'expected an object, got list'),
        (json.dumps(make_record(date=3)), "expected a str 'date', got 3"),
        (json.dumps(make_record(kind='x')), "'kind' of time, memory, got 'x'"),
        (json.dumps(make_record(results=[])), 'it has no results'),
        (
            json.dumps(make_record(results=[dict(name='a', median='1')])),
            "a 'name' and the numbers median, q1, q3, ratio, got {'name'",
        ),
        (
            json.dumps(make_record(kind='memory')),
            'numbers peak_mib, over_mib, ratio, over_ratio',
        ),
    ],
)
def test_wrong_line(line, message, tmp_path):
    log = tmp_path / 'log.jsonl'
    append_record(log, make_record())
    with open(log, 'a') as file:
        file.write(f'{line}\n')
    with pytest.raises(InputError, match=f'line 2 of .*{re.escape(message)}'):
        read_records(log)


def test_no_log(tmp_path):
    with pytest.raises(InputError, match='does not exist'):
        read_records(tmp_path / 'x')
    with pytest.raises(InputError, match='is a folder'):
        check_log(tmp_path)
    (tmp_path / 'x').write_bytes(b'\xff\xfe\n')
    with pytest.raises(InputError, match='is no text'):
        check_log(tmp_path / 'x')


def test_command_without_where_the_result_goes():
    words = [
        *('a', '--log', 'x', 'b', '--rounds', '3', '--section=y z'),
        *('--tit', 'my title', '--overwrite', '--out', 'o', '--profile'),
        *('--maps', '8x8x8'),
    ]
    assert command_line(TOOL, words) == (
        f'python {TOOL} a b --rounds 3 --profile --maps 8x8x8'
    )


@pytest.mark.parametrize(
    'word',
    ['a', "dict(type='A')", 'a b', "it's $HOME", 'a"b', "'`!", '', '\\'],
)
def test_quotes(word):
    assert shlex.split(quote(word)) == [word]
    if word == "dict(type='A')":
        assert quote(word) == f'"{word}"'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('train:{here}/configs/a.py', 'train:configs/a.py'),
        ('{here}/a.py@backbone.layer1', 'a.py@backbone.layer1'),
        ('/elsewhere/x/a.py', 'a.py'),
        ('encode:/elsewhere/a.py', 'encode:a.py'),
        ("dict(type='A', file='/etc/b')", "dict(type='A', file='b')"),
        ('mmpose::body/a.py', 'mmpose::body/a.py'),
        ('../a/b.py', '../a/b.py'),
        ('configs/a.py', 'configs/a.py'),
    ],
)
def test_paths_of_this_machine(text, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = text.format(here=tmp_path)
    assert without_absolute_paths(text) == expected


def test_now():
    assert re.fullmatch(r'\d{4}(-\d\d){2}T(\d\d:){2}\d\dZ', records.now())


def test_positionals_come_first():
    words = ['--maps', '8x8x6', '--log', 'l', '--title', 't', 'a', 'b']
    assert (
        command_line('tool.py', words, ['a', 'b'])
        == 'python tool.py a b --maps 8x8x6'
    )
