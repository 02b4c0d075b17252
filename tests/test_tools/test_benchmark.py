import json
import math
from functools import partial

import pytest
import torch

import mmpose_ext
from mmpose_ext.analysis.records import read_records

NECK = "dict(type='GPRNeck', in_channels=[8, 16])"
MAPS = ('--maps', '8x8x6', '16x4x3')
QUICK = ('--rounds', 2, '--warmup', 1, '--min-seconds', 1e-4)


@pytest.fixture
def run(run_script):
    threads = torch.get_num_threads()
    yield partial(run_script, 'tools/analysis/benchmark.py')
    torch.set_num_threads(threads)


def test_network_and_its_backbone(run, tiny_config, tmp_path):
    out = tmp_path / 'new' / 'latency.json'
    a, b = str(tiny_config), f'{tiny_config}@backbone'
    status, stdout, _ = run(
        a, b, *QUICK, '--batch', 2, '--threads', 1, '--out', out
    )
    assert status == 0 and 'A / B' in stdout
    result = json.loads(out.read_text())
    for side, name in zip('ab', (a, b)):
        assert result[side]['name'] == name
        assert len(result[side]['seconds']) == 2
        assert min(result[side]['seconds']) > 0
    medians = result['a']['median'] / result['b']['median']
    assert result['ratio'] == pytest.approx(medians)
    assert math.isfinite(result['ratio']) and result['ratio'] > 0
    spread = list(result['round_ratios'].values())
    assert spread == sorted(spread)
    settings = dict(
        batch=2, rounds=2, warmup=1, threads=1, device='cpu', dtype='float32'
    )
    assert settings.items() <= result['settings'].items()
    assert result['machine']['threads'] == 1
    assert result['machine']['torch'] == torch.__version__
    assert result['mmpose_ext'] == mmpose_ext.__version__


@pytest.mark.parametrize(
    'step, options',
    [
        ('encode', ['--persons', 1]),
        ('decode', ['--batch', 2]),
        ('predict', ['--shape', 32, 64]),
    ],
)
def test_step_and_a_network(run, step, options, tiny_config, tmp_path):
    out = tmp_path / 'latency.json'
    a, b = f'{step}:{tiny_config}', str(tiny_config)
    status, stdout, _ = run(a, b, *QUICK, *options, '--out', out)
    assert status == 0 and 'A / B' in stdout
    result = json.loads(out.read_text())
    assert result['a']['name'] == a and result['b']['name'] == b
    assert result['ratio'] > 0
    assert result['settings']['persons'] == (1 if step == 'encode' else 3)


def test_several_with_the_last_as_the_reference(run, tiny_config, tmp_path):
    out = tmp_path / 'latency.json'
    specs = [f'train:{tiny_config}', NECK, f'{tiny_config}@backbone']
    # Options may stand between them.
    status, stdout, _ = run(
        specs[0], *QUICK, *specs[1:], '--batch', 2, *MAPS, '--out', out
    )
    assert status == 0 and 'ratio to C' in stdout and 'A / B' not in stdout
    result = json.loads(out.read_text())
    sides = [result[letter] for letter in 'abc']
    assert [side['name'] for side in sides] == specs
    assert [side['images'] for side in sides] == [2, 0, 0]
    assert [side['ratio'] for side in sides] == pytest.approx(
        [side['median'] / sides[-1]['median'] for side in sides]
    )
    for side in sides:
        assert side['q1'] <= side['median'] <= side['q3']
    assert 'd' not in result and 'ratio' not in result


def test_frames_per_second(run, tiny_config):
    status, stdout, _ = run(
        str(tiny_config), NECK, *MAPS, *QUICK, '--batch', 2
    )
    assert status == 0 and 'FPS' in stdout


def test_hot_spots(run, tiny_config, tmp_path):
    out = tmp_path / 'profile.json'
    step = f'encode:{tiny_config}'
    status, stdout, _ = run(
        *(tiny_config, step, '--persons', 1, *QUICK, '--profile'),
        *('--out', out),
    )
    assert status == 0 and 'hot spots of B' in stdout
    result = json.loads(out.read_text())
    operators, functions = (
        [spot['name'] for spot in result[side]['hot_spots']] for side in 'ab'
    )
    assert any(name.startswith('aten::') for name in operators)
    assert any(name.startswith('mmpose/codecs/') for name in functions)


def test_one_spec_alone(run, tiny_config):
    status, stdout, _ = run(tiny_config, *QUICK, '--profile')
    assert status == 0 and 'hot spots of A' in stdout
    assert 'A / B' not in stdout


def test_memory(run, tmp_path):
    out = tmp_path / 'memory.json'
    log = tmp_path / 'log.jsonl'
    norm = "dict(type='BN', num_features=16)"
    status, stdout, _ = run(
        *(norm, '--maps', '16x1024x1024', '--memory', '--warmup', 2),
        *('--out', out, '--log', log, '--title', 'BN'),
    )
    assert status == 0 and 'peak (MiB)' in stdout
    result = json.loads(out.read_text())['a']
    # The result of a call is 64 MiB, as is what it gets.
    assert 64 <= result['over_mib'] < 128
    assert result['peak_mib'] > 128 + 100
    assert result['ratio'] == result['over_ratio'] == 1
    (record,) = read_records(log)
    assert record['kind'] == 'memory' and record['section'] == 'Others'


def test_log(run, tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_config.parent)
    log = tmp_path / 'new' / 'log.jsonl'
    for title in ('first', 'second'):
        status, *_ = run(
            *(tiny_config, NECK, *MAPS, *QUICK, '--log', log),
            *('--title', title, '--section', 'Networks'),
        )
        assert status == 0
    first, second = read_records(log)
    assert (first['title'], second['title']) == ('first', 'second')
    assert first['section'] == 'Networks' and first['kind'] == 'time'
    assert first['command'] == (
        f'python tools/analysis/benchmark.py tiny.py "{NECK}" --maps 8x8x6 '
        '16x4x3 --rounds 2 --warmup 1 --min-seconds 0.0001'
    )
    assert [r['name'] for r in first['results']] == ['tiny.py', NECK]
    assert all('seconds' not in r for r in first['results'])
    assert first['machine']['torch'] == torch.__version__
    assert str(tmp_path) not in log.read_text()


def test_call_that_fails(run):
    status, _, stderr = run(NECK, NECK, '--maps', '8x8x6', '4x2x2', *QUICK)
    assert status == 2 and 'error: dict(type=' in stderr
    assert 'cannot run: ' in stderr and 'Traceback' not in stderr


@pytest.mark.parametrize('option', ['--dtype', '--amp'])
def test_other_precision(run, option, tmp_path):
    status, stdout, _ = run(NECK, NECK, *MAPS, *QUICK, option, 'bfloat16')
    assert status == 0 and 'A / B' in stdout


@pytest.mark.parametrize(
    'args, message',
    [
        ((NECK, NECK), 'error: dict(type='),
        (('decode:no_such', NECK), "error: config 'no_such'"),
        (('encode:x', NECK, '--persons', '0'), "above zero, got '0'"),
        (('predict:x', NECK, '--dtype', 'bfloat16'), 'steps work in float32'),
        ((NECK, 'no_such_config', *MAPS), "error: config 'no_such_config'"),
        ((NECK, NECK, *MAPS, '--device', 'tpu9'), "device 'tpu9'"),
        ((NECK, NECK, '--maps', '8x8'), 'expected CxHxW, got 8x8'),
        ((NECK, NECK, *MAPS, '--rounds', '0'), "above zero, got '0'"),
        ((NECK, *MAPS), 'two or more specs to compare, got one'),
        ((NECK,) * 27, 'expected 2 to 26 specs, got 27'),
        ((NECK, NECK, '--memory', '--profile'), 'not allowed with'),
        (('openvino:x', '--profile'), 'not those of openvino'),
        ((NECK, NECK, '--log', 'x.jsonl'), '--log needs a --title'),
        ((NECK, NECK, '--title', 'x'), '--title is of no use without --log'),
        (('train:no_such', '--memory'), "error: config 'no_such'"),
    ],
)
def test_bad_input(run, args, message, tmp_path):
    out = tmp_path / 'latency.json'
    status, stdout, stderr = run(*args, '--out', out)
    assert status == 2 and stdout == ''
    assert message in stderr and 'Traceback' not in stderr
    assert not out.exists()


def test_existing_file_stays(run, tmp_path):
    out = tmp_path / 'latency.json'
    out.write_text('mine')
    status, _, stderr = run(NECK, NECK, *MAPS, '--out', out)
    assert status == 2 and 'exists already' in stderr
    assert out.read_text() == 'mine'


def test_broken_log_is_told_before_the_work(run, tmp_path):
    log = tmp_path / 'log.jsonl'
    log.write_text('{"date": ')
    status, _, stderr = run(NECK, NECK, '--log', log, '--title', 'x')
    assert status == 2 and 'line 1 of' in stderr and 'cut off' in stderr
