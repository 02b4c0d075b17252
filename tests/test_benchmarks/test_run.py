"""One tiny run of each kind; timing never decides."""

import json
import sys
from pathlib import Path

import pytest
import torch
from references.make_operators import over

from benchmarks import cases, data, kinds, run
from mmpose_ext.compat import operators
from mmpose_ext.errors import InputError, run_tool

QUICK = ['--rounds', '2', '--min-seconds', '1e-4', '--threads', '1']
ALBUMENTATION = (
    "transform:dict(type='Albumentation', transforms=["
    "dict(type='CoarseDropout', p=1)])"
)


@pytest.fixture
def main(monkeypatch, capfd, tmp_path):
    threads = torch.get_num_threads()

    def call(*words):
        words = ['run', *map(str, words), *QUICK]
        monkeypatch.setattr('sys.argv', words)
        try:
            run_tool(run.main)
            status = 0
        except SystemExit as e:
            status = e.code
        return status, *capfd.readouterr()

    monkeypatch.chdir(tmp_path)
    yield call
    torch.set_num_threads(threads)


@pytest.fixture
def two_cases(monkeypatch):
    specs = [
        "transform:dict(type='ChannelPermutation', prob=1)",
        ALBUMENTATION,
    ]
    found = {'a/x': (specs, {}), 'b/y': (specs[:1] * 2, dict(shape=(9, 9)))}
    monkeypatch.setattr(run, 'CASES', found)


def test_records_and_page(main, two_cases, tmp_path):
    records = tmp_path / 'r.jsonl'
    status, out, err = main('--list', '--records', records)
    assert status == 0, err
    assert out.splitlines()[0].startswith('a/x "transform:dict(type=')
    assert not records.exists()
    status, out, err = main('a/x', '--records', records)
    assert status == 0, err
    first = records.read_text()
    assert json.loads(first)['name'] == 'a/x' and 'CoarseDropout' in out
    # What is there is not measured again, unless that is asked for.
    assert main('--records', records)[0] == 0
    lines = records.read_text().splitlines()
    assert [json.loads(line)['name'] for line in lines] == ['a/x', 'b/y']
    assert records.read_text().startswith(first)
    page = (tmp_path / 'r.md').read_text()
    assert '## A' in page and '## B' in page
    # The command in a row measures that row, or a table's name all its rows.
    measured = ['a/x', 'b/y']
    for words in (['a/x'], ['b'], ['--again']):
        assert main(*words, '--records', records)[0] == 0
        measured += {'a/x': ['a/x'], 'b': ['b/y']}.get(
            words[0], ['a/x', 'b/y']
        )
        lines = map(json.loads, records.read_text().splitlines())
        assert [line['name'] for line in lines] == measured


def test_names_have_fixed_settings(main, two_cases, tmp_path):
    records = tmp_path / 'r.jsonl'
    for words, named in (
        (['a/x', '--batch', 2], '--batch: '),
        (['b', '--device', 'cpu', '--shape', 9, 9], '--device and --shape: '),
        (['--batch', 1], '--batch: '),
    ):
        status, out, err = main(*words, '--records', records)
        assert status == 2 and f'{named}NAMES have fixed values' in err
        assert out == '' and not records.exists()


def test_broken_records_end_before_the_work(main, two_cases, tmp_path):
    records = tmp_path / 'r.jsonl'
    records.write_text('mine\n')
    status, out, err = main('--records', records)
    assert status == 2 and out == '' and "line 1 of '" in err
    assert records.read_text() == 'mine\n'


def test_networks_runtimes_and_training(tiny_config, monkeypatch):
    pytest.importorskip('onnxscript')
    pytest.importorskip('nncf')
    monkeypatch.setattr(torch, 'compile', lambda network: network)
    expected = torch.Size([2, 17, 24, 16])
    for kind in ('network', 'eager', 'compiled', 'onnxruntime',
                 'openvino-int8'):  # fmt: skip
        call = kinds.load(f'{kind}:{tiny_config}', batch=2)
        found = call.function()
        found = found[0] if isinstance(found, (list, tuple)) else found
        assert found.shape == expected and call.images == 2, kind
    call = kinds.load(f'predict:{tiny_config}', shape=(96, 64), batch=2)
    assert [s.pred_instances.keypoints.shape for s in call.function()] == [
        (1, 17, 2)
    ] * 2
    call = kinds.load(f'train:{tiny_config}', batch=2)
    first = call.function()['loss_kpt'].item()
    assert call.grad and call.function()['loss_kpt'].item() < first


def test_who_gets_a_process_and_whose_memory_counts(main, monkeypatch):
    def measure(load, specs, isolate, rounds, seconds, memory, *_, **options):
        found.append((isolate, memory))
        assert (rounds, seconds) == (2, 1e-4)
        assert options == dict(threads=1, batch=3, shape=[4, 5])
        return [dict(spec=spec, seconds=[1, 1]) for spec in specs]

    found = []
    monkeypatch.setattr(run, 'measure', measure)
    for words in (
        ('transform:a', 'encode:b'), ('transform:a', 'encode:b', '--memory'),
        ('transform:a', 'network:b'), ('train:a', 'train:b'),
    ):  # fmt: skip
        assert main(*words, '--batch', 3, '--shape', 4, 5)[0] == 0
    yes, no = True, False
    assert found == [(no, no), (yes, yes), (yes, no), (yes, yes)]


def test_codecs_batches_and_files(main, tiny_config, toy_persons):
    codec = "encode:dict(type='MSRAHeatmap', input_size=(64, 96), "
    file = next((toy_persons / 'annotations').glob('*train.json'))
    status, out, err = main(
        f'encode:{tiny_config}', f'{codec}heatmap_size=(16, 24), sigma=2)',
        f'batch:{tiny_config}', f'read:{file}', f'json:{file}',
        '--batch', 2, '--profile',
    )  # fmt: skip
    assert status == 0, err
    assert 'encode tiny' in out and 'encode MSRAHeatmap' in out
    assert 'tottime' in out


def test_transforms_get_what_they_write_to_anew():
    call = kinds.load("transform:dict(type='BodyMasking', prob=1)")
    first, second = call.function(), call.function()
    plain = data.make_sample((480, 640), 3)
    # The mask is drawn on a copy: each time, one mask only.
    for results in (first, second):
        changed = (results['img'] == 128).all(axis=2).mean()
        assert 0 < changed < 0.3
    assert plain['keypoints'].shape == (3, 17, 2)


def test_operators_and_what_calls_them(toy_persons, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('data').mkdir()
    Path('data/toy_persons').symlink_to(toy_persons)
    with over(operators):  # and as before, afterwards
        kept, _ = kinds.load('operators:nms').function()
        assert 0 < len(kept) < 1000
        call = kinds.load('operators:roi_align')
        call.function()
        assert call.grad
        call = kinds.load(f'operators:{cases.TOY_DETECTOR}', batch=2)
        assert call.images == 2 and call.function()['loss'] > 0


def test_what_cannot_be_compared_is_skipped(main, monkeypatch, tmp_path):
    specs = ['operators:nms', 'mmcv-operators:nms']
    monkeypatch.setattr(run, 'CASES', {'operators/nms': (specs, {})})
    monkeypatch.setattr(run, 'ISOLATED', {})  # this process has what follows
    monkeypatch.setitem(sys.modules, 'mmcv._ext', operators)
    with over(operators):
        status, out, _ = main('--records', tmp_path / 'r.jsonl')
        assert status == 0
        lack = 'mmcv-operators needs a compiled mmcv'
        assert out == f'operators/nms is skipped: {lack}\n'
        status, _, err = main(*specs)
        assert status == 2 and lack in err


def test_evaluation(main):
    expected = kinds.load('evaluate:4').function()
    assert 0.1 < expected[0] < 0.9
    specs = ['evaluate:loadRes+4', 'xtcocotools:4']
    if sys.modules['xtcocotools'].__name__ == 'xtcocotools':
        for spec in specs:
            found = kinds.load(spec).function()
            assert found == pytest.approx(expected, abs=1e-9)
    else:
        status, _, err = main(*specs)
        assert status == 2 and 'needs an xtcocotools that works' in err


@pytest.mark.slow
def test_whole_tests(tiny_config, tmp_path):
    call = kinds.load(f'test:{tiny_config}')
    assert call.own_clock and 0 < call.function() < 60


def test_a_test_that_fails_says_why(tiny_config, monkeypatch, tmp_path):
    tool = tmp_path / 'tool.py'
    tool.write_text('raise SystemExit("no luck")')
    monkeypatch.setitem(data.TOOLS, 'test', tool)
    with pytest.raises(InputError, match='failed: no luck'):
        kinds.load(f'test:{tiny_config}').function()


def test_mistakes_are_named(main):
    for spec, message in (
        ('gpu:a.py', "'gpu:a.py' is neither a benchmark of the page nor KIND"),
        ('trian:a.py', "did you mean 'train'?"),
        ('encode:no.py', "config 'no.py' does not exist"),
        ("transform:dict(type='Cutuot')", "did you mean 'Cutout'"),
        ("transform:dict(type='Cutout', size=0)", 'size'),
        ('transform:dict(', 'SyntaxError'),
        ('json:no.json', "annotation file 'no.json' does not exist"),
    ):
        status, _, err = main(spec, "transform:dict(type='Cutout')")
        assert status == 2, spec
        assert message in err.rpartition('error: ')[2], err


def test_cases_name_configs_that_exist():
    from mmpose_ext.engine.config import load_config

    for name, (specs, _) in cases.CASES.items():
        assert name.count('/') == 1 and len(specs) > 1
        for spec in specs:
            kind, _, what = spec.partition(':')
            assert run.kind_of(spec) == kind
            if what.endswith('.py'):
                load_config(what)


def test_killed_process(main, monkeypatch, tiny_config):
    from concurrent.futures.process import BrokenProcessPool

    def measure(*args, **kwargs):
        raise BrokenProcessPool

    monkeypatch.setattr(run, 'measure', measure)
    status, _, err = main(f'network:{tiny_config}')
    assert status == 2 and 'because memory ran out' in err
