from pathlib import Path

import pytest

from mmpose_ext.analysis.literals import parse_dict
from mmpose_ext.analysis.specs import step_of
from mmpose_ext.analysis.suite import SUITE
from mmpose_ext.engine.config import load_config

ROOT = Path(__file__).parents[2]


def specs_of(benchmark):
    options = [word.startswith('--') for word in benchmark.arguments]
    return benchmark.arguments[: options.index(True)]


CONFIGS = sorted(
    {
        spec.removeprefix(f'{step_of(spec)}:').partition('@')[0]
        for benchmark in SUITE
        for spec in specs_of(benchmark)
        if 'dict(' not in spec
    }
)


def test_no_title_comes_twice_in_a_section():
    titles = [(b.section, b.title) for b in SUITE]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize('config', CONFIGS)
def test_configs_are_there(config, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert 'model' in load_config(config)


def test_modules_can_be_read():
    texts = [
        spec.partition(':')[2]
        for benchmark in SUITE
        for spec in specs_of(benchmark)
        if 'dict(' in spec
    ]
    assert texts and all(parse_dict(text)['type'] for text in texts)


def test_what_is_compared_is_compared_alike():
    """Two threads; and one spec alone only where nothing is compared."""
    for benchmark in SUITE:
        words = list(benchmark.arguments)
        assert words[words.index('--threads') + 1] == '2'
        if benchmark.tool != 'benchmark.py':
            continue
        alone = len(specs_of(benchmark)) == 1
        assert alone == ('--profile' in words) or '--memory' in words
