import json
from functools import partial

import pytest


@pytest.fixture
def run(run_script):
    return partial(run_script, 'tools/make_toy_persons.py')


def test_writes_then_leaves_alone_then_refuses(run, tmp_path):
    out = tmp_path / 'toy'
    args = (out, '--train', 2, '--val', 1, '--size', 128, 96, '--no-lip')
    status, stdout, _ = run(*args, '--seed', 5)
    assert status == 0 and '3 images in' in stdout
    marker = json.loads((out / 'toy_persons.json').read_text())
    assert marker['complete'] is True
    assert (marker['seed'], marker['width'], marker['height']) == (5, 128, 96)
    status, stdout, _ = run(*args, '--seed', 5)
    assert status == 0 and 'complete already' in stdout
    status, _, stderr = run(*args, '--seed', 6)
    assert status == 2
    assert stderr.startswith('error: ') and stderr.count('\n') == 1
    assert 'seed=5 there, 6 asked for' in stderr and '--overwrite' in stderr
    status, _, _ = run(*args, '--seed', 6, '--overwrite')
    assert status == 0
    assert json.loads((out / 'toy_persons.json').read_text())['seed'] == 6


def test_foreign_folder_is_refused(run, tmp_path):
    (tmp_path / 'letter.txt').write_text('dear')
    status, _, stderr = run(tmp_path, '--overwrite')
    assert status == 2 and 'not made by this tool' in stderr
    assert [p.name for p in tmp_path.iterdir()] == ['letter.txt']


def test_wrong_flag_value(run, tmp_path):
    status, _, stderr = run(tmp_path / 'new', '--train', '-4')
    assert status == 2 and 'num_train must not be negative' in stderr
    assert not (tmp_path / 'new').exists()
