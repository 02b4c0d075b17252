import json
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.cases import CASES
from mmpose_ext.errors import InputError

SIDES = [
    dict(spec='openvino:a/gccpm_x_lip.py', seconds=[0.01, 0.03, 0.02]),
    dict(spec='eager:a/gccpm_x_lip.py', seconds=[0.02, 0.04, 0.08]),
]
TRAINED = [
    dict(spec='train:a.py', seconds=[3.0], peak_mib=300.4),
    dict(spec='train:b.py', seconds=[1.5], peak_mib=200.0),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'new' / 'b.jsonl'


def test_page_of_the_latest_records(path):
    page.append_record(path, 'runtimes/x', [*SIDES[1:], *SIDES[:1]])
    page.append_record(path, 'trainings/y', TRAINED)
    page.append_record(path, 'runtimes/x', SIDES)
    records = page.read_records(path)
    assert list(records) == ['runtimes/x', 'trainings/y']
    text = page.render_page(records)
    rows = [line for line in text.splitlines() if line.startswith('|')]
    head = '| what | ours | theirs | ratio | range | command |'
    assert rows[0] == rows[3] == head
    # Within the rounds: 0.5, 0.75 and 0.25.
    assert rows[2] == (
        '| x | openvino gccpm x 20.000 ms | eager gccpm x 40.000 ms | 0.5 | '
        '0.25 to 0.75 | `python -m benchmarks.run runtimes/x` |'
    )
    command = '`python -m benchmarks.run trainings/y`'
    assert rows[5:] == [
        '| y | train a 3000.000 ms | train b 1500.000 ms | 2 | 2 to 2 | '
        f'{command} |',
        f'| y | train a 300 MiB | train b 200 MiB | 1.5 |  | {command} |',
    ]
    assert text.index('## Runtimes') < text.index('## Trainings')
    about = records['runtimes/x']['about']
    assert text.count(about) == 1 and 'torch' in about and 'thread' in about


def test_the_page_has_a_row_for_each_record_and_case():
    docs = Path(__file__).parents[2] / 'docs'
    records = page.read_records(docs / 'benchmarks.jsonl')
    assert set(records) in (set(), set(CASES))  # none before a measurement
    found, expected = (
        [line for line in text.splitlines() if line.startswith(('|', '- 2'))]
        for text in (
            (docs / 'benchmarks.md').read_text(), page.render_page(records),
        )
    )  # fmt: skip
    assert found == expected


@pytest.mark.parametrize('info', ['', 'model name\t: A CPU\n', None])
def test_the_processor_is_named(path, info, monkeypatch):
    proc = path.parents[1] / 'cpuinfo'
    if info is not None:
        proc.write_text(info)
    monkeypatch.setattr(page, 'Path', lambda _: path.parents[1])
    monkeypatch.setattr('platform.processor', lambda: 'a chip')
    page.append_record(path, 'a/b', SIDES)
    about = page.read_records(path)['a/b']['about']
    assert ('A CPU, ' if info else 'a chip, ') in about


def test_each_side_is_compared_with_the_last():
    third = dict(spec="transform:dict(type='A', b=[dict(type='B')])")
    rows = page.rows_of([*SIDES, dict(third, seconds=[1, 1, 1])])
    assert [row[0] for row in rows] == [
        'openvino gccpm x 20.000 ms', 'eager gccpm x 40.000 ms',
    ]  # fmt: skip
    assert {row[1] for row in rows} == {'transform B 1000.000 ms'}


def test_no_records_and_text_that_would_break_the_table(path):
    assert page.read_records(path) == {}
    page.append_record(path, 'a/b|c\nd', SIDES)
    assert '| b\\|c d |' in page.render_page(page.read_records(path))


def record(**changes):
    return json.dumps(dict(name='a/b', about='x', sides=SIDES, **changes))


def broken(**changes):
    return json.dumps(
        dict(name='a/b', about='x', sides=[dict(SIDES[0], **changes)])
    )


@pytest.mark.parametrize(
    'line',
    [
        b'', b'[]', b'7', b'{}', b'\xff', b'[' * 10**5, record()[:-9].encode(),
        b'{"name": "a", "about": "b", "sides": []}',
        b'{"name": "a", "about": "b", "sides": {"c": 1}}',
        b'{"name": 1, "about": "b", "sides": [{"spec": "", "seconds": [1]}]}',
        *(
            broken(**{key: value}).encode()
            for key, value in (
                ('spec', None), ('seconds', []), ('seconds', ['1']),
                ('seconds', [0]), ('seconds', [float('nan')]),
                ('seconds', [float('inf')]), ('seconds', None),
                ('peak_mib', -1),
            )
        ),
        json.dumps(dict(name='a', about='b', sides=[
            SIDES[0], dict(SIDES[0], seconds=[1])])).encode(),
    ],
)  # fmt: skip
def test_odd_lines_are_named(line, path):
    path.parent.mkdir()
    path.write_bytes(record().encode() + b'\n' + line + b'\n')
    with pytest.raises(InputError, match=r"line 2 of '.*b\.jsonl' is no"):
        page.read_records(path)


def test_a_line_without_its_end(path):
    path.parent.mkdir()
    path.write_text(record())
    with pytest.raises(InputError, match='line 1'):
        page.read_records(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r'b\.jsonl'):
        page.read_records(path)
