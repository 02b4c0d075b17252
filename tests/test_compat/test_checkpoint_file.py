"""Checkpoint files that are read, or refused."""

import io
import tarfile
import zipfile
from collections import OrderedDict
from functools import partial
from pathlib import Path

import pytest
import torch
from checkpoints import (
    FORMATS,
    assert_same,
    history,
    save,
    save_raw,
    training_checkpoint,
)
from mmengine.model import BaseModel, PretrainedInit
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint

from mmpose_ext.checks import load_checkpoint_strictly
from mmpose_ext.compat import checkpoint_file
from mmpose_ext.compat.checkpoint_file import find_weights
from mmpose_ext.converters import read_weights
from mmpose_ext.errors import InputError


@pytest.mark.parametrize('log', [0, history()], ids=['plain', 'history'])
@FORMATS
def test_map_location_is_respected(tmp_path, log, is_zip):
    path = tmp_path / 'a.pth'
    save(dict(weight=torch.ones(2), log=log), path, is_zip)
    seen = []

    def map_location(storage, location):
        seen.append(location)
        return storage

    checkpoint_file.load_checkpoint(path, map_location)
    assert set(seen) == {'cpu'}
    assert checkpoint_file.load_checkpoint(path, 'meta')['weight'].is_meta


def test_an_opened_file_is_loaded():
    file = io.BytesIO()
    save(training_checkpoint(), file)
    file.seek(0)
    assert_same(checkpoint_file.load_checkpoint(file), training_checkpoint())


def test_errors_of_torch_are_one_line(tmp_path):
    save_raw(b'ctorch\ndevice\n(S"a\\nb"\ntR.', tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r"device string: 'a$"):
        checkpoint_file.load_checkpoint(tmp_path / 'a.pth')


@pytest.mark.parametrize(
    'damage',
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[: data.index(b'torch._utils') + 3],
        lambda data: data[: data.index(b'_rebuild_tensor') + 3],
        lambda data: data[:2],
        lambda data: b'',
        lambda data: b'PK\x03\x04' + bytes(200),
    ],
    ids=['half', 'to a module', 'to a name', 'two bytes', 'empty', 'no zip'],
)
@FORMATS
def test_a_damaged_file_is_named(tmp_path, damage, is_zip):
    path = tmp_path / 'epoch_2.pth'
    save(training_checkpoint(), path, is_zip)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r'epoch_2\.pth.*is it whole'):
        CheckpointLoader.load_checkpoint(str(path))


@pytest.mark.parametrize(
    'content, name, message',
    [
        (
            b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
            'a.pth',
            "is a Git LFS pointer.*'git lfs pull'$",
        ),
        (b'see the releases', 'a.pth', 'is no checkpoint of PyTorch$'),
        (b'<html>gone</html>', 'a.pth', 'is no checkpoint of PyTorch$'),
        (bytes(100), 'a.pth', 'is no checkpoint of PyTorch$'),
        (b'\x08\x0a\x12', 'a.onnx', 'is no .* PyTorch, but an exported file'),
        (b'<?xml?><net/>', 'a.XML', 'is no .* PyTorch, but an exported file'),
    ],
    ids=['lfs', 'text', 'html', 'zeros', 'onnx', 'openvino'],
)
def test_what_is_no_checkpoint_is_called_so(tmp_path, content, name, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^'{path}' {message}"):
        checkpoint_file.load_checkpoint(path)


@pytest.mark.parametrize('name', ['', 'epoch_2.pth'])
def test_a_missing_file_is_named(tmp_path, name):
    path = str(tmp_path / name)  # the folder itself, or nothing
    with pytest.raises(InputError, match=f"no checkpoint file '{path}'"):
        CheckpointLoader.load_checkpoint(path)


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    save(dict(weight=torch.ones(1)), tmp_path / 'a.pth')
    assert CheckpointLoader.load_checkpoint('~/a.pth')['weight'] == 1


def test_torchscript_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.jit, 'load', lambda *a, **k: pytest.fail())
    path = tmp_path / 'model.pt'
    save_raw(b'N.', path)
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('archive/constants.pkl', b'N.')
    with pytest.raises(InputError, match=r'model\.pt.*TorchScript'):
        checkpoint_file.load_checkpoint(path)


def test_a_tar_file_is_refused(tmp_path):
    (tmp_path / 'storages').write_bytes(b'N.')
    path = tmp_path / 'old.pth'
    with tarfile.open(path, 'w') as archive:
        archive.add(tmp_path / 'storages', 'storages')
    with pytest.raises(InputError, match=r'old\.pth.*tar archive'):
        checkpoint_file.load_checkpoint(path)


class Network(BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Sequential(
            torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2)
        )
        self.head = torch.nn.Linear(2, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.head(inputs)


def with_metadata(metadata):
    weights = OrderedDict(a=torch.ones(1))
    weights._metadata = metadata
    return dict(state_dict=weights)


GOOD = dict(a=torch.ones(1))
ODD = [
    (None, 'expected weights by name, got NoneType'),
    ((torch.ones(1),), 'expected weights by name, got tuple'),
    ([GOOD], 'expected weights by name, got list'),
    (torch.ones(2), 'expected weights by name, got Tensor'),
    ({}, 'expected weights by name, got none'),
    (dict(epoch=3), 'expected weights by name, got none'),
    ({1: 2}, 'expected weights by name, got the name 1'),
    ({b'a': torch.ones(1)}, "got the name b'a'"),
    (dict(state_dict=5), "weights by name under 'state_dict', got int"),
    (dict(state_dict=None), "under 'state_dict', got NoneType"),
    (dict(state_dict={}), "under 'state_dict', got none"),
    (dict(state_dict=dict(state_dict=GOOD)), "got dict for 'state_dict'"),
    (dict(state_dict=dict(GOOD, b=[1.0])), "got list for 'b'"),
    (dict(state_dict={(1,): torch.ones(1)}), r'got the name \(1,\)'),
    (dict(state_dict=GOOD, meta=None), "a dict under 'meta', got NoneType"),
    (dict(state_dict=GOOD, meta='epoch'), "a dict under 'meta', got str"),
    (
        dict(state_dict=GOOD, meta=dict(dataset_meta=[17])),
        "a dict under 'dataset_meta', got list",
    ),
    (with_metadata(3), "a dict as '_metadata' of the weights, got int"),
    (with_metadata({'a': 1}), "a dict for 'a' in '_metadata', got int"),
    (
        with_metadata({'': dict(version='x')}),
        "a number as 'version'.* got 'x'",
    ),
]


def load_by_init_cfg(path, **kwargs):
    PretrainedInit(path, **kwargs)(Network())


def load_by_runner(path):
    config = dict(work_dir=str(Path(path).parent), experiment_name='odd')
    runner = Runner(Network(), **config, load_from=path)
    runner.load_or_resume()


LOADERS = {
    'MMEngine': CheckpointLoader.load_checkpoint,
    'MMEngine, model': lambda path: load_checkpoint(Network(), path),
    'init_cfg': load_by_init_cfg,
    'init_cfg, prefix': partial(load_by_init_cfg, prefix='backbone.'),
    'load_from': load_by_runner,
    'strictly': lambda path: load_checkpoint_strictly(Network(), path),
    'converters': read_weights,
}


@pytest.mark.parametrize('loader', LOADERS)
def test_an_odd_checkpoint_is_refused(loader, tmp_path):
    path = str(tmp_path / 'odd.pth')
    for content, message in ODD:
        save(content, path)
        with pytest.raises(InputError, match=message) as error:
            LOADERS[loader](path)
        assert str(error.value).startswith(f"checkpoint '{path}': ")
        assert len(str(error.value).splitlines()) == 1


def test_a_deep_version_is_shortened():
    version = []
    for _ in range(10**4):
        version = [version]
    weights = OrderedDict(a=torch.ones(1))
    weights._metadata = {'': dict(version=version)}
    with pytest.raises(InputError, match=r"'version' of '', got \[\[\["):
        find_weights(dict(state_dict=weights), 'a.pth')


def test_what_modules_save_besides_tensors_is_accepted():
    weights = {'a': torch.ones(1), 'b._extra_state': dict(step=3)}
    assert find_weights(dict(state_dict=weights), 'a.pth') is weights
    # As in the checkpoints of other projects.
    other = dict(model=weights, epoch=3)
    assert find_weights(other, 'a.pth') is other
