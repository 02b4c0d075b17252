"""tools/deploy/export.py, and what takes its files, from the command line."""

import errno
import json
import re
import shutil
from types import SimpleNamespace

import mmengine
import numpy as np
import pytest
import torch

from mmpose_ext.deploy import formats


@pytest.fixture
def onnx_file(exported):
    return exported['onnx']


@pytest.fixture
def weights(exported):
    """Config and checkpoint."""
    return exported['config'], exported['checkpoint']


@pytest.fixture
def export(run_script, weights):
    def run(*options):
        return run_script('tools/deploy/export.py', *weights, *options)

    return run


class Program:
    """A trace of the network that was made before."""

    def __init__(self, path):
        self.path = path
        self.model = SimpleNamespace(metadata_props={})

    def save(self, path):
        shutil.copy(self.path, path)


@pytest.fixture
def traced(onnx_file, monkeypatch):
    """The network need not be traced again."""
    monkeypatch.setattr(formats, '_to_onnx', lambda *_: Program(onnx_file))


def test_onnx_of_drawn_persons(export, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'tiny.onnx'
    path.touch()
    status, _, err = export('--format', 'onnx')
    assert status == 2
    assert "'tiny.onnx' exists already" in err
    status, out, _ = export('--format', 'onnx', '--overwrite')
    assert status == 0
    assert re.search(r'differs from PyTorch by \S+, keypoints by \S+ px', out)
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size > 1000
    assert 'tiny.onnx: ' in out


def test_demo_and_test_take_the_file(
    onnx_file, weights, toy_persons, run_script, tmp_path
):
    image = next((toy_persons / 'val').iterdir())
    found = []
    for name, model in (('a', [onnx_file]), ('b', weights)):
        status, _, err = run_script(
            *('demo/image_demo.py', image, *model, '--device', 'cpu'),
            *('--out-dir', tmp_path / name, '--score-thr', '0'),
        )
        assert status == 0, err
        (file,) = (tmp_path / name / 'predictions').iterdir()
        poses = json.loads(file.read_text())['instance_info']
        found.append(torch.tensor([p['keypoints'] for p in poses]))
    torch.testing.assert_close(*found, atol=0.1, rtol=0)

    dumps = []
    for name, file in (('a', onnx_file), ('b', weights[1])):
        dump = tmp_path / f'{name}.pkl'
        status, _, err = run_script(
            *('tools/test.py', weights[0], file, '--dump', dump),
            *('--work-dir', tmp_path / 'work'),
        )
        assert status == 0, err
        dumps.append(mmengine.load(dump))
    for a, b in zip(*dumps):
        np.testing.assert_allclose(
            a['pred_instances']['keypoints'],
            b['pred_instances']['keypoints'],
            atol=0.1,
        )
    status, _, err = run_script(
        'tools/test.py', weights[0], onnx_file, '--tta'
    )
    assert status == 2
    assert '--tta needs a network for images of any size' in err


def test_hostile_files_do_nothing_in_the_tools(
    onnx_file, weights, toy_persons, run_script, tmp_path
):
    import onnx

    trace = tmp_path / 'trace'
    model = onnx.load(str(onnx_file))
    onnx_file = tmp_path / 'hostile.onnx'
    entries = {entry.key: entry for entry in model.metadata_props}
    entries['mmpose_ext_crc'].key = 'other'
    text = entries['mmpose_ext'].value
    hostile = f"{{'type': 'os.system', 'command': 'touch {trace}'}}"
    changed = text.replace("{'type': 'LoadImage'}", hostile)
    assert changed != text
    entries['mmpose_ext'].value = changed
    onnx.save(model, str(onnx_file))
    image = next((toy_persons / 'val').iterdir())
    out = tmp_path / 'out'
    for command in (
        ['demo/image_demo.py', image, onnx_file, '--out-dir', out],
        ['demo/video_demo.py', toy_persons / 'val', onnx_file, '--out', out],
        ['tools/test.py', weights[0], onnx_file],
    ):
        status, _, err = run_script(*command)
        assert status == 2, command
        assert f"error: exported file '{onnx_file}' is refused" in err
    assert not trace.exists()
    assert not out.exists()


def test_demo_wants_the_right_arguments(onnx_file, run_script, tmp_path):
    for model, message in (
        (['a.py'], "'a.py' needs a checkpoint: the models that have"),
        ([onnx_file, 'a.pth'], 'has its weights in it: leave out a.pth'),
        ([tmp_path / 'no.onnx'], "no.onnx' does not exist"),
    ):
        image = tmp_path / 'a.jpg'
        image.touch()
        status, _, err = run_script(
            *('demo/image_demo.py', image, *model),
            *('--out-dir', tmp_path / 'out', '--device', 'cpu'),
        )
        assert status == 2
        assert message in err


def test_an_exported_file_is_not_exported_again(weights, run_script, tmp_path):
    status, _, err = run_script(
        *('tools/deploy/export.py', weights[0], 'm.onnx'),
        *('--format', 'openvino', '--out', tmp_path / 'm.xml'),
    )
    assert status == 2
    assert "error: 'm.onnx' is an exported file already" in err


@pytest.mark.parametrize('suffix', ['.onnx', '.xml'])
def test_a_full_disk_is_named_by_the_output(
    suffix, export, traced, tmp_path, monkeypatch
):
    """Not by the file in a temporary folder, which is written first."""
    import openvino

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    def broken_stream(*args, **kwargs):
        raise RuntimeError('basic_ios::clear: iostream error')

    monkeypatch.setattr(formats, 'seal', full)
    monkeypatch.setattr(openvino, 'save_model', broken_stream)
    path = tmp_path / f'model{suffix}'
    kind = {'.onnx': 'onnx', '.xml': 'openvino'}[suffix]
    status, _, err = export('--format', kind, '--out', path)
    assert status == 2
    assert f"error: cannot write '{path}': " in err
    assert ('is the disk full?' in err) == (suffix == '.xml')
    assert not list(tmp_path.iterdir())


def test_int8_tells_the_loss(export, traced, toy_persons, tmp_path):
    path = tmp_path / 'small.xml'
    annotations = toy_persons / 'annotations/person_keypoints_train.json'
    status, out, err = export(
        *('--format', 'openvino', '--int8', toy_persons / 'train'),
        *('--ann-file', annotations, '--max-samples', 8, '--out', path),
    )
    assert status == 0, err
    assert re.search(r'loss in AP \(%\): -?\d+\.\d\d\n', out)
    assert {p.name for p in tmp_path.iterdir()} == {'small.xml', 'small.bin'}


@pytest.mark.parametrize(
    'options, message',
    [
        (['--format', 'onnx', '--out', 'a.xml'], r'must end in \.onnx'),
        (['--format', 'onnx', '--int8', '.'], 'needs --format openvino'),
        (['--format', 'openvino', '--int8', 'no'], "no images at 'no'"),
        (['--format', 'onnx', '--images', 'no'], "no images at 'no'"),
        (['--format', 'onnx', '--ann-file', 'a'], 'needs --images or --int8'),
    ],
)
def test_wrong_arguments(export, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = export(*options)
    assert status == 2
    assert re.search(message, err)
    assert not list(tmp_path.iterdir())


def test_models_that_cannot_be_exported(export, traced, tmp_path, monkeypatch):
    monkeypatch.setattr('mmpose_ext.deploy.export.TOLERANCE', -1)
    status, _, err = export('--format', 'onnx', '--out', tmp_path / 'a.onnx')
    assert status == 2
    assert 'nothing is written' in err
    assert not list(tmp_path.iterdir())
