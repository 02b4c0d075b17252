import json
from functools import partial

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.registry import MODELS

QUICK = ('--images', 2, '--rounds', 2, '--warmup', 1)


@pytest.fixture
def run(run_script, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # for work_dirs
    threads = torch.get_num_threads()
    yield partial(run_script, 'tools/analysis/speed_accuracy.py')
    torch.set_num_threads(threads)


@pytest.fixture(scope='module')
def weights(tiny_config, tmp_path_factory):
    """Random weights of two models."""
    folder = tmp_path_factory.mktemp('weights')
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = MODELS.build(Config.fromfile(tiny_config).model)
    for name in 'ab':
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        torch.save(model.state_dict(), folder / f'{name}.pth')
    return [folder / f'{name}.pth' for name in 'ab']


@pytest.fixture
def models(tiny_config, weights):
    return [x for w in weights for x in ('--model', tiny_config, w)]


def test_measure_and_draw_anew(run, run_script, models, weights, tmp_path):
    out = tmp_path / 'new' / 'figure.png'
    status, stdout, stderr = run(*models, *QUICK, '--threads', 1, '--out', out)
    assert status == 0
    assert cv2.imread(str(out)).std() > 5
    content = json.loads(out.with_suffix('.json').read_text())
    assert content['machine']['threads'] == 1
    assert content['settings'] == dict(
        device='cpu', images=2, rounds=2, warmup=1, preprocessing=False
    )
    for model, path in zip(content['models'], weights):
        assert model['checkpoint'] == str(path)
        assert len(model['fps']) == 2 and min(model['fps']) > 0
        assert model['label'] in stdout.replace('\n', ' ')
        assert model['top_down'] and model['family'] in stdout
    labels = [model['label'] for model in content['models']]
    assert len(set(labels)) == 2
    assert 'AP (%)' in stdout and 'FPS' in stdout

    # The accuracy is that of tools/test.py.
    report = tmp_path / 'report.json'
    config = models[1]
    status, *_ = run_script('tools/test.py', config, weights[1],
                            '--out', report)  # fmt: skip
    assert status == 0
    assert content['models'][1]['metrics'] == json.loads(report.read_text())

    # The same figure from the file, and another one.
    again = tmp_path / 'again.png'
    redraw = ['--from-json', out.with_suffix('.json'), '--out', again]
    status, table, stderr = run(*redraw)
    assert status == 0 and table == stdout
    assert again.read_bytes() == out.read_bytes()
    assert 'Load' not in stderr
    names = ['--label', 'first', '--label', 'second', '--metric', 'coco/AR']
    status, table, _ = run(*redraw, *names, '--overwrite')
    assert status == 0 and again.read_bytes() != out.read_bytes()
    assert 'first' in table and 'AR (%)' in table
    assert labels[0] not in table


def test_resume(run, models, tmp_path):
    args = [*QUICK, '--out', tmp_path / 'figure.svg']
    path = tmp_path / 'figure.json'
    names = ['--label', 'one', '--family', 'f']
    assert run(*models[:3], *args, *names)[0] == 0
    first = json.loads(path.read_text())
    first['models'][0]['metrics']['coco/AP'] = 0.625  # not what a test gives
    path.write_text(json.dumps(first))

    status, _, stderr = run(*models, *args, '--resume')
    assert status == 2 and "figure.svg' exists already" in stderr
    status, stdout, _ = run(*models, *args, '--resume', '--overwrite')
    assert status == 0 and '62.50' in stdout
    both = json.loads(path.read_text())['models']
    assert both[0]['fps'] == first['models'][0]['fps']
    assert both[0]['label'] != 'one' and len(both[1]['fps']) == 2

    # Other settings: the speed is measured anew, the accuracy is not.
    path.write_text(json.dumps(dict(first, machine=dict(
        first['machine'], cpu='another'))))  # fmt: skip
    status, stdout, _ = run(*models, *args, '--resume', '--overwrite')
    assert status == 0 and '62.50' in stdout
    both = json.loads(path.read_text())['models']
    assert both[0]['fps'] != first['models'][0]['fps']

    # Nothing that was measured is lost.
    status, _, stderr = run(*models[3:], *args, '--resume', '--overwrite')
    assert status == 2 and 'which would be lost' in stderr
    assert json.loads(path.read_text())['models'] == both


def test_accuracy_is_kept_when_the_rest_fails(run, models, tmp_path):
    out = tmp_path / 'figure.pdf'
    args = [*models, *QUICK, '--out', out]
    status, stdout, stderr = run(*args, '--metric', 'coco/PA')
    assert status == 2 and stdout == '' and not out.exists()
    assert 'coco/AP' in stderr.rpartition('error: ')[2]
    status, _, stderr = run('--from-json', tmp_path / 'figure.json',
                            '--out', out)  # fmt: skip
    assert status == 2 and 'measure again with --resume' in stderr
    assert run(*args, '--resume')[0] == 0
    assert out.read_bytes().startswith(b'%PDF')


def test_models_of_several_accuracies(run, models, tiny_config, tmp_path):
    config = tmp_path / 'pck.py'
    config.write_text(
        f"_base_ = '{tiny_config}'\n"
        "test_evaluator = dict(_delete_=True, type='PCKAccuracy')\n"
    )
    status, _, stderr = run(
        *models[:3], '--model', config, models[2], *QUICK,
        '--out', tmp_path / 'figure.png',
    )  # fmt: skip
    assert status == 2
    assert 'pck has PCK: they cannot share a figure' in stderr


def test_mistakes_end_before_the_work(
    run, models, tiny_config, weights, tmp_path
):
    out = tmp_path / 'figure.png'

    def error(*args, out=out):
        status, stdout, stderr = run(*args, '--out', out)
        assert status == 2 and stdout == ''
        assert not (tmp_path / 'work_dirs').exists()
        return stderr.rpartition('error: ')[2]

    model = models[:3]
    assert 'figure.gif' in error(*model, out='figure.gif')
    assert '.png, .svg or .pdf' in error(*model, out='figure.gif')
    assert "config 'no.py'" in error('--model', 'no.py', weights[0])
    message = error('--model', tiny_config, 'no.pth')
    assert "tiny.py: checkpoint 'no.pth' does not exist" in message
    message = error(*models, '--label', 'x')
    assert 'as many --label as models, 2, got 1' in message
    assert 'as many --family' in error(*models, *['--family', 'x'] * 3)
    assert 'is the same model as' in error(*model, *model)
    assert 'one of the arguments' in error()
    assert 'not allowed with' in error(*model, '--from-json', 'x.json')
    assert "number above zero, got '0'" in error(*model, '--images', 0)
    assert "device 'tpu9'" in error(*model, '--device', 'tpu9')
    assert 'must end in .json' in error(*model, '--json', 'x.txt')
    config = tmp_path / 'no_test.py'
    config.write_text(
        f"_base_ = '{tiny_config}'\ntest_dataloader = None\n"
        'test_evaluator = dict(ann_file=None)\n'
    )
    assert 'no test_dataloader' in error('--model', config, weights[0])

    assert "results 'no.json' does not" in error('--from-json', 'no.json')
    assert '--resume is for measuring' in error(
        '--from-json', 'no.json', '--resume'
    )
    foreign = tmp_path / 'foreign.json'
    for text in ('[]', '{"models": [{}]}', '{"models": []}'):
        foreign.write_text(text)
        message = error('--from-json', foreign)
        assert "foreign.json' is not a file of this tool" in message

    out.with_suffix('.json').write_text('mine')
    assert "figure.json' exists already" in error(*model)
    out.write_text('mine')
    assert "figure.png' exists already" in error(*model)
    assert out.read_text() == 'mine'
