import json
import math
from functools import partial

import pytest
import torch

import mmpose_ext

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


@pytest.mark.parametrize('option', ['--dtype', '--amp'])
def test_other_precision(run, option, tmp_path):
    status, stdout, _ = run(NECK, NECK, *MAPS, *QUICK, option, 'bfloat16')
    assert status == 0 and 'A / B' in stdout


@pytest.mark.parametrize(
    'args, message',
    [
        ((NECK, NECK), 'error: dict(type='),
        (('decode:no_such', NECK), "error: config 'no_such'"),
        (('encode:x', NECK, '--persons', '0'), 'more than 0, got 0'),
        (('predict:x', NECK, '--dtype', 'bfloat16'), 'steps work in float32'),
        ((NECK, 'no_such_config', *MAPS), "error: config 'no_such_config'"),
        ((NECK, NECK, *MAPS, '--device', 'tpu9'), "device 'tpu9'"),
        ((NECK, NECK, '--maps', '8x8'), 'expected CxHxW, got 8x8'),
        ((NECK, NECK, *MAPS, '--rounds', '0'), 'expected more than 0, got 0'),
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
