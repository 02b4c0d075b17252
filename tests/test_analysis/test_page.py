import re

import pytest

from mmpose_ext.analysis.page import (
    frames_per_second,
    label,
    milliseconds,
    render_page,
)

MADE_BY = '<!-- Made by: python tools/analysis/benchmark_page.py'
MACHINE = dict(cpu='EPYC', cores=2, threads=2, memory_gib=8.0, torch='2.1')


def result(name, median, ratio, **more):
    quartiles = dict(q1=0.9 * median, q3=1.1 * median)
    return dict(name=name, median=median, ratio=ratio, **quartiles, **more)


def record(section, title, *results, **changes):
    return dict(
        dict(
            date='2026-01-02T03:04:05Z',
            section=section,
            title=title,
            command='python tools/analysis/benchmark.py a b',
            kind='time',
            settings={},
            machine=MACHINE,
            mmpose_ext='1.0',
            results=list(results) or [result('a', 1, 1)],
        ),
        **changes,
    )


def headings(page):
    return re.findall(r'^##+ .*$', page, re.M)


def test_table_of_times():
    a = result('train:mmpose::x/y/hrnet_1xb2.py', 0.25, 0.5, images=8)
    b = result("dict(type='A|B')", 0.5, 1, images=0)
    page = render_page([record('S', 'T', a, b)], ['log.jsonl'])
    assert page.startswith(f'{MADE_BY} log.jsonl -->\n')
    assert (
        '| what | median (ms) | FPS | quartiles (ms) | ratio |\n'
        '| --- | ---: | ---: | ---: | ---: |\n'
        '| `train:hrnet_1xb2` | 250.0 | 32.0 | 225.0 to 275.0 | 0.5 |\n'
        "| `dict(type='A\\|B')` | 500.0 |  | 450.0 to 550.0 | 1 |\n"
    ) in page
    assert '- EPYC, 2 cores, 8.0 GiB, torch 2.1\n' in page
    assert '\n2026-01-02, mmpose_ext 1.0, 2 threads.\n' in page


def test_no_images_no_frames():
    page = render_page([record('S', 'T', result('a', 1, 1))], [])
    assert '| what | median (ms) | quartiles (ms) | ratio |' in page


def test_table_of_memory():
    row = dict(
        name='a', peak_mib=2218.4, over_mib=1643, ratio=0.976, over_ratio=0.9
    )
    page = render_page([record('S', 'T', row, kind='memory')], [])
    assert '| `a` | 2218 | 0.976 | 1643 | 0.900 |' in page


def test_latest_of_each_title_in_the_order_of_the_log():
    def at(day, section, title, name):
        date = f'2026-01-{day:02}T00:00:00Z'
        return record(section, title, result(name, 1, 1), date=date)

    records = [
        at(2, 'B', 'x', 'second'),
        at(2, 'A', 'x', 'other'),
        at(1, 'B', 'x', 'first'),
        at(3, 'B', 'w', 'third'),
        at(4, 'A', 'x', 'new'),
        at(4, 'A', 'x', 'newest'),
    ]
    page = render_page(records, [])
    assert headings(page) == ['## B', '### x', '### w', '## A', '### x']
    names = re.findall(r'^\| `(\w+)`', page, re.M)
    assert names == ['second', 'third', 'newest']
    assert page == render_page(list(records), [])


def test_machines_are_told_apart_but_not_by_threads():
    other = dict(MACHINE, cpu='Xeon', gpu='H200')
    records = [
        record('S', 'a'),
        record('S', 'b', machine=dict(MACHINE, threads=1)),
        record('S', 'c', machine=other),
    ]
    assert 'machine 1' not in render_page(records[:2], [])
    page = render_page(records, [])
    assert '1. EPYC, 2 cores' in page and '2. Xeon, H200, 2 cores' in page
    assert 'mmpose_ext 1.0, machine 1, 1 thread.' in page
    assert 'mmpose_ext 1.0, machine 2, 2 threads.' in page


def test_hot_spots():
    spots = [
        dict(name=f'op{i}', seconds=0.01, share=0.25, calls=2.5)
        for i in range(9)
    ]
    page = render_page(
        [record('S', 'T', result('x.py', 1, 1, hot_spots=spots))], []
    )
    assert 'Hot spots of `x`:' in page
    assert '| `op0` | 10.00 | 25.0% | 2.5 |' in page
    assert 'op4' in page and 'op5' not in page


def test_long_commands_are_broken_between_words():
    words = [f'configs/some/{"long" * 6}_{i}.py' for i in range(5)]
    words.append('''"transform:dict(type='A', b=1)"''')
    command = f'python tools/analysis/benchmark.py {" ".join(words)}'
    page = render_page([record('S', 'T', command=command)], [])
    (block,) = re.findall(r'```shell\n(.*?)\n```', page, re.S)
    assert max(map(len, block.split('\n'))) <= 79
    assert block.replace(' \\\n   ', '') == command


def test_page_tells_its_command_without_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = render_page([record('S', 'T')], [f'{tmp_path}/a.jsonl', '--out=b'])
    assert page.startswith(f'{MADE_BY} a.jsonl --out=b -->\n')


@pytest.mark.parametrize(
    ('seconds', 'expected'),
    [(1.23456, '1235'), (0.123456, '123.5'), (1.5e-5, '0.01500')],
)
def test_milliseconds(seconds, expected):
    assert milliseconds(seconds) == expected


def test_frames_per_second():
    assert frames_per_second(dict(images=8, median=0.1)) == '80.0'
    assert frames_per_second(dict(images=0, median=0.1)) == ''


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('configs/a/b_c-1.py', 'b_c-1'),
        ('openvino-int8:mmpose::a/w0.5_x.py', 'openvino-int8:w0.5_x'),
        ('a.py@backbone.stage4', 'a@backbone.stage4'),
        ("dict(type='A')", "dict(type='A')"),
        ('gccpm-w0.5_1x', 'gccpm-w0.5_1x'),
    ],
)
def test_label(name, expected):
    assert label(name) == expected
