"""Try which versions work together, and fill the table of docs/install.md.

    make matrix ROWS="3.12 3.11:compiled 3.12:newest"

A row is a Python, and what differs from the default: a compiled mmcv, or the
newest PyTorch in the place of the pinned one. Each is set up in a temporary
copy of the checkout, as by ``make``, and runs some of the tests. Without
ROWS, those are tried that have no result of the present constraints.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'docs' / 'matrix.jsonl'
PAGE = ROOT / 'docs' / 'install.md'
ROWS = ('3.10', '3.11', '3.12', '3.13', '3.12:newest', '3.11:compiled')
TESTS = ('tests/test_codecs', 'tests/test_evaluation', 'tests/test_multitask')
SHOWN = ('numpy', 'torch', 'torchvision', 'opencv-python', 'mmcv', 'mmcv-lite')
# From here to the end of the table.
TABLE = re.compile(
    r'(?<=<!-- Made by `make matrix`: do not edit. -->\n).*?\n\n', re.S
)
VERSIONS = f"""
import importlib.metadata, json
found = {{d.name: d.version for d in importlib.metadata.distributions()}}
print(json.dumps({{name: found.get(name) for name in {SHOWN}}}))
"""


def constraints() -> int:
    return zlib.crc32((ROOT / 'requirements' / 'constraints.txt').read_bytes())


def try_row(row: str) -> dict:
    """Set a row up and test it: what was found, and after how long."""
    python, _, kind = row.partition(':')
    result = dict(row=row, constraints=constraints(), versions={})
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / 'checkout'
        names = ('.git', '.venv', 'data', 'work_dirs', '__pycache__')
        ignore = shutil.ignore_patterns(*names)
        shutil.copytree(ROOT, copy, symlinks=True, ignore=ignore)
        if kind == 'newest':
            path = copy / 'requirements' / 'constraints.txt'
            text = re.sub('^torch.*\n', '', path.read_text(), flags=re.M)
            path.write_text(text)
        mmcv = 'compiled' if kind == 'compiled' else 'lite'
        env = {**os.environ, 'PYTHON': f'python{python}', 'MMCV': mmcv}
        env.update(OMP_NUM_THREADS='1', PYTHONPATH=str(copy))

        def run(*command):
            print(row, *command, flush=True)
            return subprocess.run(
                command, cwd=copy, env=env, text=True, capture_output=True
            )

        start = time.time()
        done = run('bash', 'requirements/install.sh', 'package')
        result['seconds'] = round(time.time() - start)
        if not done.returncode:
            listed = run('.venv/bin/python', '-c', VERSIONS)
            result['versions'] = json.loads(listed.stdout)
            done = run('bash', 'requirements/install.sh', 'tests')
        if not done.returncode:
            options = ('-q', '-p', 'no:cacheprovider')
            done = run('.venv/bin/python', '-m', 'pytest', *options, *TESTS)
    lines = (done.stdout + done.stderr).strip().splitlines()
    failed = [x for x in lines if x.startswith(('error', 'FAILED', 'E  '))]
    summary = re.sub(r' in [\d.]+s.*|=', '', lines[-1]).strip()
    result['result'] = (failed[0] if failed else summary).replace('|', '/')
    return result


def read() -> dict:
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return {found['row']: found for found in map(json.loads, lines)}


def fill(results: dict) -> None:
    titles = ('Python', *SHOWN, 'set-up', 'tests')
    table = [titles, ['---'] * len(titles)]
    for row in sorted(results, key=ROWS.index):
        found = results[row]
        versions = [found['versions'].get(name) or '-' for name in SHOWN]
        python = row.partition(':')[0]
        table.append(
            [python, *versions, f'{found["seconds"]} s', found['result']]
        )
    text = '\n'.join(f'| {" | ".join(line)} |' for line in table)
    PAGE.write_text(TABLE.sub(lambda _: f'{text}\n\n', PAGE.read_text()))


def main() -> None:
    results = read()
    now = constraints()
    for row in sys.argv[1:] or ROWS:
        if row not in ROWS:
            sys.exit(f'no row {row!r}, but {", ".join(ROWS)}')
        tried = results.get(row, {}).get('constraints') == now
        if tried and not sys.argv[1:]:
            continue
        results[row] = try_row(row)
        print(results[row], flush=True)
        lines = (json.dumps(results[name]) for name in ROWS if name in results)
        RESULTS.write_text(''.join(f'{line}\n' for line in lines))
        fill(results)


if __name__ == '__main__':
    main()
