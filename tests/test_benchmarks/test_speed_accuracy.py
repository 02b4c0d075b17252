import json

import cv2
import pytest
import torch
from mmengine.config import Config
from mmpose.registry import MODELS

from benchmarks import speed_accuracy
from benchmarks.measure import Call
from mmpose_ext.errors import run_tool


@pytest.fixture
def main(monkeypatch, capsys, tmp_path):
    def call(*words):
        words = ['speed_accuracy', *map(str, words), '--rounds', '2']
        monkeypatch.setattr('sys.argv', words)
        try:
            run_tool(speed_accuracy.main)
            status = 0
        except SystemExit as e:
            status = e.code
        return status, *capsys.readouterr()

    monkeypatch.chdir(tmp_path)  # for work_dirs
    return call


@pytest.fixture
def model(tiny_config, tmp_path):
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(tiny_config).model)
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    return ['--model', tiny_config, tmp_path / 'weights.pth']


def test_figure_table_and_kept_accuracy(main, model, tmp_path):
    out = tmp_path / 'figure.png'
    args = [*model, '--images', 3, '--threads', 1, '--out', out]
    status, stdout, err = main(*args)
    assert status == 0, err
    assert cv2.imread(str(out)).std() > 5
    assert 'AP (%)' in stdout and 'FPS' in stdout
    # Not what a test gives: it is not tested again.
    kept = json.loads((tmp_path / 'figure.json').read_text())
    (key,) = kept
    kept[key]['coco/AP'] = 0.625
    (tmp_path / 'figure.json').write_text(json.dumps(kept))
    status, stdout, err = main(*args)
    assert status == 2 and "figure.png' exists already" in err
    status, stdout, err = main(*args, '--overwrite')
    assert status == 0 and '62.50' in stdout


def test_images_with_all_their_persons(model, monkeypatch):
    class Dataset(list):
        def get_data_info(self, i):
            return dict(img_path=self[i]['path'])

    seen = []
    dataset = Dataset(dict(i=i, path=path) for i, path in enumerate('bcbab'))
    found = speed_accuracy.accuracy.EvaluatedModel({}, seen.append, dataset, 2)
    monkeypatch.setattr(
        speed_accuracy.accuracy, 'load_and_evaluate', lambda *_, **__: found
    )
    spec = '\n'.join(map(str, model[1:]))
    call = speed_accuracy.load_images(spec, 50)
    assert isinstance(call, Call) and call.images == 3
    call.function()
    assert [batch['i'] for batch in seen] == [[3], [0, 2], [4], [1]]
    # Fewer are spread over the test set.
    seen.clear()
    speed_accuracy.load_images(spec, 2).function()
    assert [batch['i'] for batch in seen] == [[3], [1]]


def test_mistakes_end_before_the_work(main, model, tiny_config, tmp_path):
    def error(*args, out='figure.png'):
        status, stdout, err = main(*args, '--out', tmp_path / out)
        assert status == 2 and stdout == ''
        assert not (tmp_path / 'work_dirs').exists()
        return err.rpartition('error: ')[2]

    assert 'expected .png, .svg or .pdf' in error(*model, out='figure.gif')
    missing = ['--model', tiny_config, 'no.pth']
    assert "checkpoint 'no.pth' does not" in error(*model, *missing)
    (tmp_path / 'figure.json').write_text('[]')
    assert "figure.json' is not a file of this tool" in error(*model)


def test_models_of_several_accuracies(main, model, monkeypatch, tmp_path):
    metrics = iter([{'coco/AP': 0.5}, {'PCK': 0.5}])
    monkeypatch.setattr(
        speed_accuracy, 'evaluate', lambda *args: next(metrics)
    )
    status, _, err = main(*model, *model, '--out', tmp_path / 'a.png')
    assert status == 2 and 'cannot share a figure' in err
