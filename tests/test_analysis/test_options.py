"""Where results go."""

import argparse

import pytest

from mmpose_ext.analysis.options import (
    add_output_options,
    check_output_options,
)
from mmpose_ext.errors import InputError


@pytest.fixture
def parse():
    parser = argparse.ArgumentParser()
    add_output_options(parser, section='Test')

    def run(*words):
        args = parser.parse_args([*map(str, words)])
        check_output_options(args)
        return args

    return run


def test_good_options(parse, tmp_path):
    log, out = tmp_path / 'log.jsonl', tmp_path / 'out.json'
    args = parse('--out', out, '--log', log, '--title', 'a title')
    assert (args.section, args.title) == ('Test', 'a title')
    assert not list(tmp_path.iterdir())
    assert parse().out is None


def test_what_cannot_be_written(parse, tmp_path):
    taken = tmp_path / 'taken'
    taken.write_text('mine')
    assert parse('--out', taken, '--overwrite').overwrite
    for words, message in (
        (['--out', taken], 'exists already'),
        (['--log', taken, '--title', 'x'], 'line 1 of benchmark log'),
        (['--log', tmp_path / 'log'], '--log needs a --title'),
        (['--title', 'x'], 'of no use without --log'),
    ):
        with pytest.raises(InputError, match=message):
            parse(*words)
    assert taken.read_text() == 'mine'
