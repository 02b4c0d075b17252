"""The records of benchmarks, one per line, and the page made of them."""

import json
import math
import platform
import re
import statistics
import time
from pathlib import Path
from typing import Dict, List

import mmpose
import torch

import mmpose_ext
from mmpose_ext.checks import check_output_file
from mmpose_ext.errors import InputError

from .measure import ratio_of

_HEAD = """\
# Benchmarks

Each row was measured in one run of its command, alternately, so that a
temporary slowdown affects both. Times are medians of the rounds; ratio and
range are of the ratios within the rounds (below 1: ours takes less). Networks,
predictions and trainings have a process each. Weights and images are random,
but for the toy persons of `data`, of `testing` (there, the time of a batch)
and of the trainings of `operators`; there, theirs are mmcv's compiled ones.
8-bit networks are calibrated with random images.

`python -m benchmarks.run` measures what is not yet in `benchmarks.jsonl` (all
with `--again`), the command of a row that row, and writes this page.
"""
COLUMNS = ('what', 'ours', 'theirs', 'ratio', 'range', 'command')


def append_record(path: Path, name: str, sides: List[dict], **more) -> None:
    """Append what ``measure`` returns, with the date and the machine."""
    info = ''.join(p.read_text() for p in Path('/proc').glob('cpuinfo'))
    parts = re.findall(r'model name\s*: (.+)', info)[:1]
    parts = parts or [platform.processor() or platform.machine()]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    parts.append(f'{torch.get_num_threads()} threads')
    for package in (torch, mmpose, mmpose_ext):
        parts.append(f'{package.__name__} {package.__version__}')
    about = time.strftime('%Y-%m-%d: ', time.gmtime()) + ', '.join(parts)
    record = dict(name=name, about=about, sides=sides, **more)
    line = json.dumps(record) + '\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    # One write to a file opened for appending is not mixed with others.
    with open(path, 'ab', buffering=0) as file:
        file.write(line.encode())


def read_records(path: Path) -> Dict[str, dict]:
    """The latest record of each name; an ``InputError`` names an odd line."""
    check_output_file(str(path), overwrite=True)
    lines = path.read_bytes().splitlines(True) if path.exists() else []
    records = {}
    for number, line in enumerate(lines, 1):
        try:
            # Where the last line is cut off, even its end alone, this fails.
            record = json.loads(line[:-1].decode())
            _check(record)
        except (ValueError, RecursionError, KeyError, TypeError) as e:
            raise InputError(
                f"line {number} of '{path}' is not a record of a benchmark "
                f'({type(e).__name__}: {e!s:.99}): remove it, and run its '
                'benchmark again'
            ) from e
        records[record['name']] = record
    return records


def _check(record: dict) -> None:
    sides = record['sides']
    texts = [record['name'], record['about'], *(s['spec'] for s in sides)]
    rounds = {len(side['seconds']) for side in sides}
    numbers = [n for s in sides for n in (*s['seconds'], s.get('peak_mib', 1))]
    good = all(0 < number < math.inf for number in numbers)
    good = good and all(isinstance(text, str) for text in texts)
    if not good or len(rounds) != 1 or 0 in rounds:
        raise ValueError(
            "expected texts as 'name' and 'about', and 'sides', each with a "
            "'spec' and as many 'seconds', finite and above 0"
        )


def render_page(records: Dict[str, dict]) -> str:
    """The page: a table for each of what names have before their slash."""
    tables: Dict[str, List[list]] = {}
    for name, record in records.items():
        table, _, what = name.partition('/')
        rows = tables.setdefault(table, [COLUMNS, ['---'] * len(COLUMNS)])
        command = f'`python -m benchmarks.run {name}`'
        rows += [[what, *row, command] for row in rows_of(record['sides'])]
    lines = [_HEAD]
    for table, rows in tables.items():
        lines.append(f'## {table.capitalize()}\n')
        lines += [f'| {" | ".join(map(_cell, cells))} |' for cells in rows]
        lines.append('')
    about = sorted({f'- {record["about"]}' for record in records.values()})
    return '\n'.join([*lines, '## Machine\n', *about, ''])


def rows_of(sides: List[dict]) -> List[list]:
    """Each side beside the last one: ours, theirs, ratio and range."""
    rows = []
    for pair in ([side, sides[-1]] for side in sides[:-1]):
        ratio, low, high = (f'{r:.3g}' for r in ratio_of(*pair))
        times = [1000 * statistics.median(side['seconds']) for side in pair]
        cells = [f'{label(s)} {t:.3f} ms' for s, t in zip(pair, times)]
        rows.append([*cells, ratio, f'{low} to {high}'])
        if all('peak_mib' in side for side in pair):
            a, b = peaks = [side['peak_mib'] for side in pair]
            cells = [f'{label(s)} {p:.0f} MiB' for s, p in zip(pair, peaks)]
            rows.append([*cells, f'{a / b:.3g}', ''])
    return rows


def label(side: dict) -> str:
    """The kind of a spec, and its config or type without the details."""
    kind, _, what = side['spec'].partition(':')
    types = re.findall(r"type='(\w+)", what)
    return ' '.join([kind, *(types[-1:] or Path(what).stem.split('_')[:2])])


def _cell(text: str) -> str:
    return ' '.join(text.split()).replace('|', '\\|')
