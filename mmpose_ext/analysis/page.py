"""Results of benchmarks as a page of Markdown."""

import re
import shlex
from pathlib import Path
from typing import Dict, List, Sequence, Tuple, Union

from ..checks import check_output_file
from ..errors import InputError
from ..files import write_atomic
from .records import quote, read_records, without_absolute_paths

_MADE_BY = '<!-- Made by: python tools/analysis/benchmark_page.py'
# Named in the page for each spec that was profiled.
_NUM_HOT_SPOTS = 5
_WIDTH = 79

_INTRODUCTION = """\
# Benchmarks

All that a table compares was measured in one run of its command, which
measures it again on another machine. Times are those of calls in turns (a, b,
c, a, b, c, ...), so that what slows the machine down for a while slows all of
them: medians over the rounds, with their quartiles. With `--isolate` each has
a process of its own, and an unmeasured call before each measurement. Ratios
are those of the medians to the last row of the table, and steadier than the
times; below 1 is faster, or smaller, than that row. FPS are images per call
over its median. Memory is that of a fresh process for each row: the peak while
it is called, and by how much that is over its size before, with all imported
and loaded.

Weights and images are random, but for the toy persons of whole tests, which
run the tools of both packages, and of data loading. `train` is a whole step of
training, from normalisation to optimizer; `predict` goes from images to poses;
`eager` and the other runtimes run the network alone, with the same threads.
The 8-bit networks are quantised with random images: their time is shown, not
their accuracy."""


def check_page(path: Union[str, Path], overwrite: bool = False) -> None:
    """Check that a page can be written without loss of another file.

    Args:
        path (str | Path): The file; one of :func:`write_page` may be there.
        overwrite (bool): Whether it may replace any file. Defaults to
            ``False``.

    Raises:
        InputError: Something else is there.
    """
    check_output_file(path, overwrite=True)
    page = Path(path)
    if overwrite or not page.exists():
        return
    if not page.read_bytes().startswith(_MADE_BY.encode()):
        raise InputError(
            f"output file '{path}' is no page of benchmarks: choose another "
            'name, or give --overwrite'
        )


def write_page(
    log: Union[str, Path], out: Union[str, Path], overwrite: bool = False
) -> int:
    """Render the records of a log as a page.

    Args:
        log (str | Path): See :func:`~.records.read_records`.
        out (str | Path): The page.
        overwrite (bool): Whether it may replace any file. Defaults to
            ``False``, only a page of this function.

    Returns:
        int: The number of records.

    Raises:
        InputError: The log is broken, or another file would be lost.
    """
    check_page(out, overwrite)
    records = read_records(log)
    page = render_page(records, [str(log), '--out', str(out)])
    write_atomic(out, page.encode())
    return len(records)


def render_page(records: Sequence[dict], command: Sequence[str]) -> str:
    """Render the latest record of each section and title.

    Sections, and titles in them, are in the order of the log.

    Args:
        records (Sequence[dict]): As of :func:`~.records.read_records`.
        command (Sequence[str]): Arguments of the tool that makes the page.

    Returns:
        str: The page. The same records give the same page.
    """
    latest = _latest(records)
    machines = _machines(list(latest.values()))
    words = [quote(without_absolute_paths(word)) for word in command]
    parts = [
        f'{" ".join([_MADE_BY, *words])} -->',
        _INTRODUCTION,
        _machine_list(machines),
    ]
    section = None
    # By section, each where it comes first.
    sections = list(dict.fromkeys(section for section, _ in latest))
    for record in sorted(
        latest.values(), key=lambda r: sections.index(r['section'])
    ):
        if record['section'] != section:
            section = record['section']
            parts.append(f'## {section}')
        parts += _render_record(record, machines)
    return '\n\n'.join(parts) + '\n'


def _latest(records: Sequence[dict]) -> Dict[Tuple[str, str], dict]:
    latest: Dict[Tuple[str, str], dict] = {}
    for record in records:
        key = record['section'], record['title']
        if key not in latest or record['date'] >= latest[key]['date']:
            latest[key] = record
    return latest


def _machines(records: List[dict]) -> List[dict]:
    """The different ones; how many threads are used is a setting."""
    machines = []
    for record in records:
        machine = _machine_of(record)
        if machine not in machines:
            machines.append(machine)
    return machines


def _machine_of(record: dict) -> dict:
    return {k: v for k, v in record['machine'].items() if k != 'threads'}


def _machine_list(machines: List[dict]) -> str:
    lines = [
        'Machine:' if len(machines) == 1 else 'Machines, by their numbers:',
        '',
    ]
    for number, machine in enumerate(machines, 1):
        bullet = '-' if len(machines) == 1 else f'{number}.'
        lines.append(f'{bullet} {_describe(machine)}')
    return '\n'.join(lines)


def _describe(machine: dict) -> str:
    known = dict(machine)
    parts = [str(known.pop('cpu', 'unknown CPU'))]
    if 'gpu' in known:
        parts.append(str(known.pop('gpu')))
    if 'cores' in known:
        parts.append(f'{known.pop("cores")} cores')
    if 'memory_gib' in known:
        parts.append(f'{known.pop("memory_gib")} GiB')
    if 'system' in known:
        parts.append(str(known.pop('system')))
    return ', '.join([*parts, *(f'{k} {v}' for k, v in known.items())])


def _render_record(record: dict, machines: List[dict]) -> List[str]:
    about = [record['date'][:10], f'mmpose_ext {record["mmpose_ext"]}']
    if len(machines) > 1:
        about.append(f'machine {machines.index(_machine_of(record)) + 1}')
    threads = record['machine'].get('threads')
    if threads:
        about.append(f'{threads} thread' + 's' * (threads != 1))
    render = _time_table if record['kind'] == 'time' else _memory_table
    parts = [
        f'### {record["title"]}',
        f'```shell\n{_wrap(record["command"])}\n```',
        render(record['results']),
        f'{", ".join(about)}.',
    ]
    for result in record['results']:
        if result.get('hot_spots'):
            parts += [
                f'Hot spots of `{label(result["name"])}`:',
                _hot_spot_table(result['hot_spots'][:_NUM_HOT_SPOTS]),
            ]
    return parts


def _time_table(results: List[dict]) -> str:
    images = any(result.get('images') for result in results)
    header = ['what', 'median (ms)', 'quartiles (ms)', 'ratio']
    rows = []
    for result in results:
        row = [
            f'`{label(result["name"])}`',
            milliseconds(result['median']),
            f'{milliseconds(result["q1"])} to {milliseconds(result["q3"])}',
            f'{result["ratio"]:.3g}',
        ]
        if images:
            row.insert(2, frames_per_second(result))
        rows.append(row)
    if images:
        header.insert(2, 'FPS')
    return _table(header, rows)


def _memory_table(results: List[dict]) -> str:
    header = ['what', 'peak (MiB)', 'ratio', 'over the start (MiB)', 'ratio']
    rows = [
        [
            f'`{label(result["name"])}`',
            f'{result["peak_mib"]:.0f}',
            f'{result["ratio"]:.3f}',
            f'{result["over_mib"]:.0f}',
            f'{result["over_ratio"]:.3f}',
        ]
        for result in results
    ]
    return _table(header, rows)


def _hot_spot_table(spots: List[dict]) -> str:
    rows = [
        [
            f'`{spot["name"]}`',
            milliseconds(spot['seconds']),
            f'{spot["share"]:.1%}',
            f'{spot["calls"]:.4g}',
        ]
        for spot in spots
    ]
    return _table(['operator or function', 'ms', 'share', 'calls'], rows)


def _table(header: List[str], rows: List[List[str]]) -> str:
    rules = ['---', *['---:'] * (len(header) - 1)]
    lines = [header, rules, *rows]
    return '\n'.join(
        f'| {" | ".join(cell.replace("|", chr(92) + "|") for cell in line)} |'
        for line in lines
    )


def milliseconds(seconds: float) -> str:
    """A time in milliseconds, with four digits that tell something.

    Args:
        seconds (float): The time.
    """
    number = seconds * 1000
    return f'{number:.0f}' if number >= 1000 else f'{number:#.4g}'


def frames_per_second(result: dict) -> str:
    """The images per second of a result, empty if it has no images.

    Args:
        result (dict): With ``images`` per call, and the ``median`` in
            seconds.
    """
    images = result.get('images')
    return f'{images / result["median"]:#.3g}' if images else ''


def label(name: str) -> str:
    """A spec with the names of its configs, without their folders.

    Args:
        name (str): The spec.
    """
    return re.sub(
        r'(?:\w+::)?([\w.-]+/)*([\w.-]+)\.py\b', lambda m: m[2], name
    )


def _wrap(command: str) -> str:
    """A shell command over several lines."""
    lines, line = [], ''
    for word in map(quote, shlex.split(command)):
        # Two for the end of the line, ' \'.
        if line and len(line) + 1 + len(word) > _WIDTH - 2:
            lines.append(line)
            line = f'    {word}'
        else:
            line = f'{line} {word}' if line else word
    return ' \\\n'.join([*lines, line])
