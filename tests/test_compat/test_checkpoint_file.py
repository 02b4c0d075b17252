"""Checkpoint files that are read safely, or refused."""

import functools
import http.server
import io
import json
import os
import pickle
import tarfile
import threading
import zipfile
from collections import Counter, OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel, PretrainedInit
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint

from mmpose_ext.checks import load_checkpoint_strictly
from mmpose_ext.compat.checkpoint_file import find_weights
from mmpose_ext.compat.checkpoint_file import (
    load_checkpoint as read_checkpoint,
)
from mmpose_ext.converters import read_weights
from mmpose_ext.errors import InputError

FORMATS = pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'old'])


def save(checkpoint, path, is_zip=True):
    torch.save(checkpoint, path, _use_new_zipfile_serialization=is_zip)


def save_raw(data, path, is_zip=True):
    """A checkpoint file around a pickle written by hand."""
    if is_zip:
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('archive/data.pkl', data)
            archive.writestr('archive/version', '3\n')
    else:
        head = torch.serialization.MAGIC_NUMBER, 1001, {'little_endian': True}
        head = b''.join(pickle.dumps(value, 2) for value in head)
        path.write_bytes(head + data + pickle.dumps([], 2))


def history():
    buffer = HistoryBuffer([3.0, 2.0, 1.0], [1, 1, 2])
    buffer.update(0.5, 4)
    return buffer


def training_checkpoint():
    """The kinds of values that MMEngine, MMPose and MMDet save."""
    weight = torch.arange(6.0).view(2, 3)
    state_dict = OrderedDict(
        weight=weight, column=weight[:, 1], half=weight.bfloat16()
    )
    state_dict._metadata = OrderedDict({'': dict(version=1)})
    return dict(
        meta=dict(
            epoch=3,
            cfg='model = dict()\n',
            CLASSES=('person',),
            PALETTE=[(220, 20, 60)],
            dataset_meta=dict(
                sigmas=np.linspace(0, 1, 17, dtype=np.float32),
                flip_indices=np.array([[0, 2], [1, 3]], order='F'),
                names=np.array(['nose', 'left_eye']),
                big_endian=np.arange(3, dtype='>i4'),
                empty=np.zeros((0, 2)),
                visible=np.array([True, False]),
                info=ConfigDict(author='A', nested=dict(ids={1, 2})),
                raw=b'\x00\xff',
                nothing=b'',
            ),
            best_score=np.float64(0.71),
        ),
        state_dict=state_dict,
        message_hub=dict(
            log_scalars=OrderedDict(loss=history()),
            runtime_info=OrderedDict(dtype=torch.float16),
            resumed_keys=dict(loss=True),
        ),
        optimizer=dict(
            state={0: dict(step=torch.tensor(3.0))},
            param_groups=[dict(lr=1e-3, betas=(0.9, 0.999), params=[0])],
        ),
        param_schedulers=[dict(milestones=Counter([2, 2, 4]))],
    )


def assert_same(actual, expected):
    assert type(actual) is type(expected)
    if isinstance(expected, HistoryBuffer):
        assert_same(vars(actual), vars(expected))
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key in expected:
            assert_same(actual[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(actual) == len(expected)
        for pair in zip(actual, expected):
            assert_same(*pair)
    elif isinstance(expected, np.ndarray):
        # As ever, numpy makes an array native when it is loaded.
        assert actual.dtype == expected.dtype.newbyteorder('=')
        np.testing.assert_array_equal(actual, expected)
    elif isinstance(expected, torch.Tensor):
        assert actual.dtype == expected.dtype
        assert actual.equal(expected)
    else:
        assert actual == expected


@FORMATS
def test_what_is_saved_is_loaded(tmp_path, is_zip):
    path = tmp_path / 'epoch_3.pth'
    save(training_checkpoint(), path, is_zip)
    loaded = CheckpointLoader.load_checkpoint(str(path), 'cpu')
    expected = training_checkpoint()
    # The methods that a buffer writes into its pickle are not taken back.
    assert_same(loaded, expected)
    assert_same(
        loaded['state_dict']._metadata, OrderedDict({'': {'version': 1}})
    )
    state_dict = loaded['state_dict']
    state_dict['weight'][0, 1] = 7
    assert state_dict['column'][0] == 7, 'no longer a view of the weight'
    buffer = loaded['message_hub']['log_scalars']['loss']
    assert buffer.statistics('mean', 2) == history().statistics('mean', 2)


def test_the_metainfo_of_mmpose_is_loaded(tmp_path):
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    info = parse_pose_metainfo(
        dict(from_file='configs/_base_/datasets/coco.py')
    )
    path = tmp_path / 'a.pth'
    save(dict(meta=dict(dataset_meta=info)), path)
    assert_same(read_checkpoint(path)['meta']['dataset_meta'], info)


def test_a_model_gets_its_weights(tmp_path):
    source, target = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    path = str(tmp_path / 'weights.pth')
    save(dict(state_dict=source.state_dict(), log=history()), path)
    load_checkpoint(target, path)
    assert target.weight.equal(source.weight)


@pytest.mark.parametrize('log', [0, history()], ids=['plain', 'history'])
@FORMATS
def test_map_location_is_respected(tmp_path, log, is_zip):
    path = tmp_path / 'a.pth'
    save(dict(weight=torch.ones(2), log=log), path, is_zip)
    seen = []

    def map_location(storage, location):
        seen.append(location)
        return storage

    read_checkpoint(path, map_location)
    assert set(seen) == {'cpu'}
    assert read_checkpoint(path, 'meta')['weight'].is_meta


def test_an_opened_file_is_loaded():
    file = io.BytesIO()
    save(training_checkpoint(), file)
    file.seek(0)
    assert_same(read_checkpoint(file), training_checkpoint())


class Call:
    """Pickled, it is a call that is to be made when it is loaded."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def evil_bytes(path):
    file = io.BytesIO()
    torch.save(Call(os.mkdir, path), file)
    return file.getvalue()


# What is to be refused, given the path that it would make, and its name.
CALLS = [
    (lambda path: Call(os.system, f'mkdir {path}'), 'posix.system'),
    (lambda path: Call(os.mkdir, path), 'posix.mkdir'),
    (lambda path: Call(os.open, path, os.O_CREAT), 'posix.open'),
    (lambda path: Call(open, path, 'w'), 'io.open'),
    (
        lambda path: Call(exec, f'import os; os.mkdir({path!r})'),
        'builtins.exec',
    ),
    (lambda path: Call(getattr, HistoryBuffer, 'update'), "'update'"),
    (
        lambda path: Call(functools.partial(os.mkdir, path)),
        'functools.partial',
    ),
    (
        lambda path: Call(torch.storage._load_from_bytes, evil_bytes(path)),
        'torch.storage._load_from_bytes',
    ),
    (lambda path: Call(torch.load, path), 'torch.serialization.load'),
    (lambda path: Call(np.load, path), 'numpy.load'),
    (lambda path: np.array([Call(os.mkdir, path)], object), 'numpy.dtype'),
    (lambda path: np.zeros(1, [('a', 'f8')]), "numpy.dtype('V8')"),
    (lambda path: Path(path), 'pathlib.PosixPath'),
]
RAW_CALLS = [
    # os.mkdir in the words of the opcodes of older protocols
    (b'(S%r\niposix\nmkdir\n.', 'posix.mkdir'),
    (b'(cposix\nmkdir\nS%r\no.', 'posix.mkdir'),
    (b'\x80\x04\x8c\x05posix\x8c\x05mkdir\x93S%r\n\x85R.', 'posix.mkdir'),
    # the method that is allowed, as a way to the module around it
    (
        b'c__builtin__\ngetattr\n(c__builtin__\ngetattr\n'
        b'(cmmengine.logging.history_buffer\nHistoryBuffer\nS"min"\ntR'
        b'S"__globals__"\ntR0S%r\n.',
        'builtins.getattr(<function HistoryBuffer.min',
    ),
    (
        b'cbuiltins\ngetattr\n(cmmengine.logging.history_buffer\n'
        b'HistoryBuffer\nS"__init__"\ntR0S%r\n.',
        "'__init__'",
    ),
    (
        b'cmmengine.logging.history_buffer\nHistoryBuffer.min\n0S%r\n.',
        'HistoryBuffer.min',
    ),
    # other defaults for a function of torch, for whoever calls it next
    (
        b'ctorch._utils\n_rebuild_tensor\n(N}S"__defaults__"\n(S%r\ntstb.',
        'the state of a function',
    ),
    # another attribute for a class
    (
        b'cmmengine.logging.history_buffer\nHistoryBuffer\n'
        b'(N}S"mean"\nS%r\nstb.',
        'the state of a type',
    ),
    (b'c_codecs\nencode\n(S%r\nS"zlib"\ntR.', "_codecs.encode(…, 'zlib')"),
    (b'(S%r\nimmengine.logging\nMessageHub\n.', 'mmengine.logging.MessageHub'),
]


def assert_refused(path, name, would_make):
    with pytest.raises(InputError) as error:
        CheckpointLoader.load_checkpoint(str(path))
    assert name in str(error.value)
    assert str(path) in str(error.value)
    assert not os.path.exists(would_make)


@pytest.mark.parametrize('call, name', CALLS, ids=[name for _, name in CALLS])
@FORMATS
def test_a_call_is_refused_by_name(tmp_path, call, name, is_zip):
    path, would_make = tmp_path / 'evil.pth', str(tmp_path / 'made')
    save(dict(weight=torch.ones(2), log=call(would_make)), path, is_zip)
    assert_refused(path, name, would_make)


@pytest.mark.parametrize('data, name', RAW_CALLS)
@FORMATS
def test_a_handwritten_call_is_refused(tmp_path, data, name, is_zip):
    path, would_make = tmp_path / 'evil.pth', tmp_path / 'made'
    save_raw(
        data.replace(b'%r', ascii(str(would_make)).encode()), path, is_zip
    )
    defaults = torch._utils._rebuild_tensor.__defaults__
    assert_refused(path, name, would_make)
    assert torch._utils._rebuild_tensor.__defaults__ == defaults


@pytest.mark.parametrize(
    'data', [b'(S%r\niposix\nmkdir\n.', b'cposix\nmkdir\n(S%r\ntR.']
)
def test_the_handwritten_calls_would_do_harm(tmp_path, data):
    # Guards the tests above: this is what the standard unpickler does.
    made = tmp_path / 'made'
    pickle.loads(data.replace(b'%r', ascii(str(made)).encode()))
    assert made.is_dir()


def test_a_history_brings_no_methods(tmp_path):
    methods = dict(HistoryBuffer._statistics_methods)
    buffer = history()
    state = dict(vars(buffer), update='shadowed')
    state['_statistics_methods'] = state['statistics_methods'] = {'mean': len}
    data = pickle.dumps(state, 2).replace(
        b'c__builtin__\nlen', b'c_codecs\nencode'
    )
    path = tmp_path / 'a.pth'
    save_raw(
        b'cmmengine.logging.history_buffer\nHistoryBuffer\n)\x81'
        + data[2:-1]
        + b'b.',
        path,
    )
    loaded = read_checkpoint(path)
    assert_same(loaded, buffer)
    assert HistoryBuffer._statistics_methods == methods
    assert loaded.statistics('mean') == history().mean()


@pytest.mark.parametrize('opcodes', [b')\x85', b'NN\x86', b'NNN\x87', b'(Nt'])
@FORMATS
def test_tuples_in_tuples_are_limited(tmp_path, opcodes, is_zip):
    """Python crashes where it hashes 100,000 of them, as it does a key."""
    path = tmp_path / 'a.pth'

    def nest(depth):
        first, made = opcodes[:-1], opcodes[-1:]
        if made == b't':
            deep = b'(' * depth + b'N' + made * depth
        else:
            deep = first + made + (first[1:] + made) * (depth - 1)
        save_raw(b'}(' + deep + b'K\x01u.', path, is_zip)
        return read_checkpoint(path)

    ((key, value),) = nest(50).items()
    assert value == 1
    depth = 0
    while isinstance(key, tuple):
        key, depth = key[0] if key else None, depth + 1
    assert depth in (50, 51)  # the innermost can be empty
    with pytest.raises(InputError, match='more than 50 tuples in another'):
        nest(51)


def test_errors_of_torch_are_one_line(tmp_path):
    save_raw(b'ctorch\ndevice\n(S"a\\nb"\ntR.', tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r"device string: 'a$"):
        read_checkpoint(tmp_path / 'a.pth')


def test_an_ordered_dict_keeps_its_methods(tmp_path):
    weights = OrderedDict(weight=torch.ones(1))
    weights._metadata = {'': {'version': 2}}
    weights.copy = weights.get = 'shadowed'
    save(dict(state_dict=weights), tmp_path / 'a.pth')
    loaded = read_checkpoint(tmp_path / 'a.pth')['state_dict']
    assert vars(loaded) == {'_metadata': {'': {'version': 2}}}


def test_a_dtype_has_the_memory_layout_of_its_name(tmp_path):
    # Eight bytes that claim to be sixteen, with an object among them.
    path = tmp_path / 'a.pth'
    save_raw(
        b'cnumpy\ndtype\n(S"f8"\nI00\nI01\ntR(I3\nS">"\nN(S"a"\nt'
        b'}S"a"\n(cnumpy\ndtype\n(S"i8"\ntRI0\ntsI16\nI8\nI63\ntb.',
        path,
    )
    assert_same(read_checkpoint(path), np.dtype('>f8'))
    assert np.dtype('f8').isnative


@pytest.mark.parametrize(
    'damage',
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:2],
        lambda data: b'',
        lambda data: b'PK\x03\x04' + bytes(200),
    ],
    ids=['half', 'two bytes', 'empty', 'no zip'],
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
        read_checkpoint(path)


@pytest.mark.parametrize(
    'weight, kind',
    [
        (torch.ones(2, device='meta'), 'a tensor without values'),
        (torch.ones(2).to_sparse(), 'a sparse tensor'),
    ],
    ids=['meta', 'sparse'],
)
def test_tensors_of_another_kind_are_named(tmp_path, weight, kind):
    save(dict(weight=weight), tmp_path / 'a.pth')
    with pytest.raises(InputError, match=rf'_tensor\w* \({kind}\), which'):
        read_checkpoint(tmp_path / 'a.pth')


@pytest.mark.parametrize('name', ['', 'epoch_2.pth'])
def test_a_missing_file_is_named(tmp_path, name):
    path = str(tmp_path / name)  # the folder itself, or nothing
    with pytest.raises(InputError, match=f"no checkpoint file '{path}'"):
        CheckpointLoader.load_checkpoint(path)


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    save(dict(weight=torch.ones(1)), tmp_path / 'a.pth')
    assert CheckpointLoader.load_checkpoint('~/a.pth')['weight'] == 1


def test_a_persistent_module_is_refused(tmp_path):
    path = tmp_path / 'evil.pth'
    save_raw(b'(S"module"\nNNNtQ.', path, is_zip=False)
    with pytest.raises(InputError, match='a persistent module'):
        read_checkpoint(path)


def test_mmengine_is_given_no_config_to_run(tmp_path):
    path = str(tmp_path / 'mmcv.pth')
    meta = dict(config='import os', epoch=3)
    save(dict(meta=meta, state_dict=dict(a=torch.ones(1))), path)
    loaded = CheckpointLoader.load_checkpoint(path)
    assert loaded['meta'] == dict(epoch=3)
    assert read_checkpoint(path)['meta'] == meta


def test_torchscript_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.jit, 'load', lambda *a, **k: pytest.fail())
    path = tmp_path / 'model.pt'
    save_raw(b'N.', path)
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('archive/constants.pkl', b'N.')
    with pytest.raises(InputError, match=r'model\.pt.*TorchScript'):
        read_checkpoint(path)


def test_a_tar_file_is_refused(tmp_path):
    (tmp_path / 'storages').write_bytes(b'N.')
    path = tmp_path / 'old.pth'
    with tarfile.open(path, 'w') as archive:
        archive.add(tmp_path / 'storages', 'storages')
    with pytest.raises(InputError, match=r'old\.pth.*tar archive'):
        read_checkpoint(path)


# -- Loaders of other places -------------------------------------------------


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server of a folder, and an empty folder for downloads."""
    (tmp_path / 'www').mkdir()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Keep the test's output clean."""

    handler = functools.partial(Handler, directory=str(tmp_path / 'www'))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / 'www', f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def test_a_download_is_loaded_once_and_safely(server, tmp_path):
    folder, url = server
    save(training_checkpoint(), folder / 'good.pth')
    for _ in range(2):
        loaded = CheckpointLoader.load_checkpoint(f'{url}/good.pth', 'cpu')
        assert_same(loaded, training_checkpoint())
        (folder / 'good.pth').unlink(missing_ok=True)

    save(dict(log=Call(os.mkdir, str(tmp_path / 'made'))), folder / 'evil.pth')
    with pytest.raises(InputError, match=r'posix\.mkdir'):
        CheckpointLoader.load_checkpoint(f'{url}/evil.pth', 'cpu')
    assert not (tmp_path / 'made').exists()

    with pytest.raises(InputError, match=r'cannot download .*/absent\.pth'):
        CheckpointLoader.load_checkpoint(f'{url}/absent.pth', 'cpu')


def test_a_model_zoo_name_is_loaded_safely(server, tmp_path, monkeypatch):
    folder, url = server
    save(dict(log=Call(os.mkdir, str(tmp_path / 'made'))), folder / 'evil.pth')
    home = tmp_path / 'home'
    home.mkdir()
    save(dict(log=Call(os.mkdir, str(tmp_path / 'made'))), home / 'local.pth')
    (home / 'open_mmlab.json').write_text(
        json.dumps({'remote': f'{url}/evil.pth', 'local': 'local.pth'})
    )
    monkeypatch.setenv('MMENGINE_HOME', str(home))
    for name in ('remote', 'local'):
        with pytest.raises(InputError, match=r'posix\.mkdir'):
            CheckpointLoader.load_checkpoint(f'open-mmlab://{name}', 'cpu')
    assert not (tmp_path / 'made').exists()


# -- Checkpoints of other shapes ---------------------------------------------


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
@pytest.mark.parametrize('content, message', ODD)
def test_an_odd_checkpoint_is_refused(content, message, loader, tmp_path):
    path = str(tmp_path / 'odd.pth')
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
