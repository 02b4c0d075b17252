"""Results of benchmarks, one per line of a JSON lines file."""

import json
import os
import re
import shlex
from datetime import datetime, timezone
from pathlib import Path
from typing import List, Sequence, Union

from ..checks import check_file, check_output_file
from ..errors import InputError

# What each record has, and its type.
KEYS = dict(
    date=str,
    section=str,
    title=str,
    command=str,
    kind=str,
    settings=dict,
    machine=dict,
    mmpose_ext=str,
    results=list,
)
# What a result of each kind has besides its name.
KINDS = dict(
    time=('median', 'q1', 'q3', 'ratio'),
    memory=('peak_mib', 'over_mib', 'ratio', 'over_ratio'),
)
# Those that say where a result goes, not what is measured.
_WITH_VALUE = ('--out', '--log', '--title', '--section')
_FLAGS = ('--overwrite',)
_ABSOLUTE = re.compile(r"""(?:(?<![\w./:])|(?<=\w:))/(?!/)[^\s'",@=]+""")


def now() -> str:
    """The date and time in UTC, to the second."""
    return datetime.now(timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')


def command_line(
    script: str, arguments: Sequence[str], first: Sequence[str] = ()
) -> str:
    """A command as another user would type it.

    Args:
        script (str): Path of the tool from the root of the project.
        arguments (Sequence[str]): What it was called with.
        first (Sequence[str]): Those of them that are no options nor their
            values, to stand first, where no option takes them for its own.
            Defaults to ``()``.

    Returns:
        str: The command in a shell's quotes, without the options that say
        where the result goes, and without absolute paths.
    """
    rest = list(arguments)
    for word in first:
        rest.remove(word)
    kept, is_value = list(map(without_absolute_paths, first)), False
    for word in rest:
        name, has_value, _ = word.partition('=')
        # argparse takes unique beginnings too.
        if is_value or _is_one_of(name, _FLAGS):
            is_value = False
        elif _is_one_of(name, _WITH_VALUE):
            is_value = not has_value
        else:
            kept.append(without_absolute_paths(word))
    return ' '.join(map(quote, ['python', script, *kept]))


def quote(word: str) -> str:
    """A word in a shell's quotes, if it needs them.

    Args:
        word (str): The word.

    Returns:
        str: In double quotes where it has single ones inside, as the specs
        of modules have, and nothing that is special in double ones.
    """
    if "'" in word and not re.search(r'["$`\\!]', word):
        return f'"{word}"'
    return shlex.quote(word)


def without_absolute_paths(text: str) -> str:
    """A text whose absolute paths are no longer of this machine.

    Args:
        text (str): Such as the spec of a benchmark.

    Returns:
        str: With paths relative to the current folder, and of those elsewhere
        the file name only, by which the tools find the configs of packages.
    """
    return _ABSOLUTE.sub(lambda match: _shorten(match[0]), text)


def check_log(path: Union[str, Path]) -> None:
    """Check that a record can be appended to a file.

    Args:
        path (str | Path): A file of records, an empty one, or none yet.

    Raises:
        InputError: It is anything else.
    """
    check_output_file(path, overwrite=True)
    if Path(path).exists() and Path(path).stat().st_size:
        read_records(path)


def append_record(path: Union[str, Path], record: dict) -> None:
    """Append a record as one line, in one go.

    Args:
        path (str | Path): The file; its folder is made.
        record (dict): See :data:`KEYS`.

    Raises:
        InputError: See :func:`check_log`.
    """
    check_log(path)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record, allow_nan=False) + '\n'
    # One write to a file opened for appending is not mixed with others.
    with open(path, 'ab', buffering=0) as file:
        file.write(line.encode())
        os.fsync(file.fileno())


def read_records(path: Union[str, Path]) -> List[dict]:
    """Read all records.

    Args:
        path (str | Path): A file of :func:`append_record`.

    Returns:
        list[dict]: Those of its lines, the oldest first.

    Raises:
        InputError: There is no such file, or a line is not a record.
    """
    check_file(path, 'benchmark log')
    try:
        text = Path(path).read_text('utf-8')
    except UnicodeDecodeError as e:
        raise InputError(f"benchmark log '{path}' is no text: {e}") from e
    lines = text.splitlines(keepends=True)
    records = []
    for number, line in enumerate(lines, 1):
        place = f"line {number} of benchmark log '{path}'"
        if not line.endswith('\n'):
            raise InputError(
                f'{place} is cut off, as by an interrupted run: remove it, '
                'and run its benchmark again'
            )
        try:
            record = json.loads(line)
        except json.JSONDecodeError as e:
            raise InputError(
                f'{place} is no JSON: remove or mend it: {e}'
            ) from e
        _check_record(record, place)
        records.append(record)
    return records


def _check_record(record: object, place: str) -> None:
    if not isinstance(record, dict):
        raise InputError(
            f'{place}: expected an object, got {type(record).__name__}'
        )
    for key, kind in KEYS.items():
        if not isinstance(record.get(key), kind):
            raise InputError(
                f"{place}: expected a {kind.__name__} '{key}', got "
                f'{record.get(key)!r}'
            )
    if record['kind'] not in KINDS:
        raise InputError(
            f"{place}: expected a 'kind' of {', '.join(KINDS)}, got "
            f"'{record['kind']}'"
        )
    if not record['results']:
        raise InputError(f'{place}: it has no results')
    wanted = KINDS[record['kind']]
    for result in record['results']:
        if (
            not isinstance(result, dict)
            or not isinstance(result.get('name'), str)
            or not all(_is_number(result.get(key)) for key in wanted)
        ):
            raise InputError(
                f"{place}: expected results with a 'name' and the numbers "
                f'{", ".join(wanted)}, got {result}'
            )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_one_of(word: str, options: Sequence[str]) -> bool:
    return len(word) > 2 and any(o.startswith(word) for o in options)


def _shorten(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return Path(path).name
