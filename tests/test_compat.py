"""Each mend of `compat`: that it works, and that it does no more."""

import functools
import http.server
import io
import json
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmpose_ext import compat
from mmpose_ext.errors import InputError

ROOT = Path(__file__).parents[1]


def run_python(*args, **env):
    """Run Python on two cores' share, with this project to be imported."""
    env = {**os.environ, 'OMP_NUM_THREADS': '1', **env}
    path = [env.get('PYTHONPATH', ''), str(ROOT)]
    env['PYTHONPATH'] = os.pathsep.join(filter(None, path))
    return subprocess.run(
        [sys.executable, *args],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )


# -- torchvision -------------------------------------------------------------

# compat alone, without the rest of the package that it makes importable.
COMPAT_ALONE = f"""
import sys, types
package = types.ModuleType('mmpose_ext')
package.__path__ = [{str(ROOT / 'mmpose_ext')!r}]
sys.modules['mmpose_ext'] = package
import torch
from mmpose_ext import compat
"""

# What torchvision's Python part does with the operators.
FAKE_KERNELS = """
import torch
for name in ('nms', 'qnms'):
    library = torch.library.Library('torchvision', 'IMPL', 'Meta')
    library.impl(name, lambda dets, scores, iou_threshold: scores)
"""


def fake_torchvision(folder, compiled=None):
    package = folder / 'torchvision'
    package.mkdir()
    (package / '__init__.py').write_text(FAKE_KERNELS)
    if isinstance(compiled, bytes):
        (package / '_C.so').write_bytes(compiled)
    elif compiled:
        (package / '_C.so').symlink_to(compiled)
    return str(folder)


def test_a_torchvision_that_does_not_fit_is_importable(tmp_path):
    path = fake_torchvision(tmp_path, b'not a shared library')
    before = run_python('-c', 'import torchvision', PYTHONPATH=path)
    assert 'torchvision::nms' in before.stderr
    after = run_python(
        '-c',
        COMPAT_ALONE + 'compat.apply(); compat.apply(); import torchvision\n'
        'boxes, scores = torch.rand(3, 4), torch.rand(3)\n'
        'torch.ops.torchvision.nms(boxes, scores, 0.5)',
        PYTHONPATH=path,
    )
    # Called, it says that it is not there, as it should.
    assert 'NotImplementedError' in after.stderr
    assert "Could not run 'torchvision::nms'" in after.stderr


def test_torchvision_that_loads_is_left_alone(tmp_path):
    # Any library that can be loaded stands for a fitting compiled part.
    path = fake_torchvision(tmp_path, torch._C.__file__)
    done = run_python(
        '-c',
        COMPAT_ALONE + 'compat.apply()\n'
        'assert torch.ops.loaded_libraries, "it was not tried"\n'
        'assert not hasattr(torch.ops.torchvision, "nms")',
        PYTHONPATH=path,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def library(monkeypatch):
    """Forget torchvision, and count the libraries that are made."""
    made = []

    class Library:
        def __init__(self, *args):
            self.schemas = []
            made.append(self)

        def define(self, schema):
            self.schemas.append(schema)

    monkeypatch.delitem(sys.modules, 'torchvision', raising=False)
    monkeypatch.setattr(compat, '_torchvision_library', None)
    monkeypatch.setattr(compat.torch.library, 'Library', Library)
    monkeypatch.setattr(compat.torch.ops, 'torchvision', object())
    return made


@pytest.mark.parametrize('compiled', [None, b'not a shared library'])
def test_missing_operators_are_declared(
    library, monkeypatch, tmp_path, compiled
):
    monkeypatch.syspath_prepend(fake_torchvision(tmp_path, compiled))
    compat._declare_torchvision_ops()
    assert compat._torchvision_library is library[0]
    assert [schema.split('(')[0] for schema in library[0].schemas] == [
        'nms',
        'qnms',
    ]


def test_nothing_is_declared_without_torchvision(library, monkeypatch):
    monkeypatch.setattr(compat.importlib.util, 'find_spec', lambda name: None)
    compat._declare_torchvision_ops()
    assert library == []


def test_nothing_is_declared_after_torchvision(library, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(fake_torchvision(tmp_path, b'broken'))
    monkeypatch.setitem(sys.modules, 'torchvision', object())
    compat._declare_torchvision_ops()
    assert library == []


@pytest.mark.slow
def test_mmpose_is_importable_after_this_package():
    done = run_python(
        '-c', 'import mmpose_ext, mmpose.apis, mmpose.visualization'
    )
    assert done.returncode == 0, done.stderr


# -- Checkpoints that are not only tensors -----------------------------------

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
    assert_same(compat.load_checkpoint(path)['meta']['dataset_meta'], info)


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

    compat.load_checkpoint(path, map_location)
    assert set(seen) == {'cpu'}
    assert compat.load_checkpoint(path, 'meta')['weight'].is_meta


def test_plain_tensors_are_left_to_torch(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    save(dict(weight=torch.ones(2), epoch=3), path)
    monkeypatch.setattr(compat, '_SafePickle', None)
    assert compat.load_checkpoint(path)['epoch'] == 3


def test_an_opened_file_is_loaded():
    file = io.BytesIO()
    save(training_checkpoint(), file)
    file.seek(0)
    assert_same(compat.load_checkpoint(file), training_checkpoint())


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
    loaded = compat.load_checkpoint(path)
    assert_same(loaded, buffer)
    assert HistoryBuffer._statistics_methods == methods
    assert loaded.statistics('mean') == history().mean()


def test_a_dtype_has_the_memory_layout_of_its_name(tmp_path):
    # Eight bytes that claim to be sixteen, with an object among them.
    path = tmp_path / 'a.pth'
    save_raw(
        b'cnumpy\ndtype\n(S"f8"\nI00\nI01\ntR(I3\nS">"\nN(S"a"\nt'
        b'}S"a"\n(cnumpy\ndtype\n(S"i8"\ntRI0\ntsI16\nI8\nI63\ntb.',
        path,
    )
    assert_same(compat.load_checkpoint(path), np.dtype('>f8'))
    assert np.dtype('f8').isnative


@pytest.mark.parametrize(
    'damage',
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:2],
        lambda data: b'',
        lambda data: b'<html>not found</html>',
        lambda data: b'PK\x03\x04' + bytes(200),
    ],
    ids=['half', 'two bytes', 'empty', 'text', 'no zip'],
)
@FORMATS
def test_a_damaged_file_is_named(tmp_path, damage, is_zip):
    path = tmp_path / 'epoch_2.pth'
    save(training_checkpoint(), path, is_zip)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r'epoch_2\.pth.*is it whole'):
        CheckpointLoader.load_checkpoint(str(path))


@pytest.mark.parametrize('name', ['', 'epoch_2.pth'])
def test_a_missing_file_is_named(tmp_path, name):
    path = str(tmp_path / name)  # the folder itself, or nothing
    with pytest.raises(InputError, match=f"no checkpoint file '{path}'"):
        CheckpointLoader.load_checkpoint(path)


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    save(dict(epoch=3), tmp_path / 'a.pth')
    assert CheckpointLoader.load_checkpoint('~/a.pth') == dict(epoch=3)


def test_a_persistent_module_is_refused(tmp_path):
    path = tmp_path / 'evil.pth'
    save_raw(b'(S"module"\nNNNtQ.', path, is_zip=False)
    with pytest.raises(InputError, match='a persistent module'):
        compat.load_checkpoint(path)


def test_mmengine_is_given_no_config_to_run(tmp_path):
    path = str(tmp_path / 'mmcv.pth')
    save(dict(meta=dict(config='import os', epoch=3)), path)
    loaded = CheckpointLoader.load_checkpoint(path)
    assert loaded == dict(meta=dict(epoch=3))
    assert 'config' in compat.load_checkpoint(path)['meta']
    # Other things than a training's checkpoint have none either.
    for other in (dict(meta=1), [1]):
        save(other, path)
        assert CheckpointLoader.load_checkpoint(path) == other


def test_torchscript_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.jit, 'load', lambda *a, **k: pytest.fail())
    path = tmp_path / 'model.pt'
    save_raw(b'N.', path)
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('archive/constants.pkl', b'N.')
    with pytest.raises(InputError, match=r'model\.pt.*TorchScript'):
        compat.load_checkpoint(path)


def test_a_tar_file_is_refused(tmp_path):
    (tmp_path / 'storages').write_bytes(b'N.')
    path = tmp_path / 'old.pth'
    with tarfile.open(path, 'w') as archive:
        archive.add(tmp_path / 'storages', 'storages')
    with pytest.raises(InputError, match=r'old\.pth.*tar archive'):
        compat.load_checkpoint(path)


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


def test_apply_again_changes_nothing(tmp_path):
    compat.apply()
    schemes = list(CheckpointLoader._schemes)
    compat.apply()
    assert list(CheckpointLoader._schemes) == schemes
    # The module still saves, and still is the torch that it was.
    path = str(tmp_path / 'a.pth')
    mmengine_checkpoint.save_checkpoint(dict(epoch=3), path)
    assert CheckpointLoader.load_checkpoint(path) == dict(epoch=3)
    assert mmengine_checkpoint.torch.Tensor is torch.Tensor


# -- Distributed training without a GPU --------------------------------------

LAUNCHED = {
    'pytorch': dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0'),
    'mpi': dict(
        OMPI_COMM_WORLD_RANK='0',
        OMPI_COMM_WORLD_SIZE='1',
        OMPI_COMM_WORLD_LOCAL_RANK='0',
    ),
    'slurm': dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_LOCALID='0'),
}


@pytest.fixture
def no_launcher(monkeypatch):
    names = [name for env in LAUNCHED.values() for name in env]
    for name in (*names, 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '')  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setattr(compat, 'get_device', lambda: 'cpu')
    registered = []
    monkeypatch.setattr(compat.atexit, 'register', registered.append)
    yield registered
    for stop in registered:
        stop()


@pytest.mark.parametrize('launcher', LAUNCHED)
def test_a_group_is_started_on_the_cpu(no_launcher, monkeypatch, launcher):
    for name, value in LAUNCHED[launcher].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setenv('MASTER_PORT', '0')
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=60))))
    compat.setup_cpu_distributed(cfg, launcher)
    assert torch.distributed.get_backend() == 'gloo'
    assert os.environ['LOCAL_RANK'] == '0'  # MMEngine asks for it
    assert cfg.env_cfg.dist_cfg == dict(backend='gloo', timeout=60)
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=False,
        device_ids=None,
    )
    # A second call meets a running group.
    compat.setup_cpu_distributed(cfg, launcher)
    assert len(no_launcher) == 1
    no_launcher[0]()
    assert not torch.distributed.is_initialized()


def test_the_users_settings_are_kept(no_launcher, monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    cfg = Config(dict(model_wrapper_cfg=dict(static_graph=True)))
    compat.setup_cpu_distributed(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg == dict(static_graph=True, device_ids=None)
    cfg = Config(dict(find_unused_parameters=True))
    compat.setup_cpu_distributed(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg.find_unused_parameters
    monkeypatch.undo()


@pytest.mark.parametrize(
    'launcher, device', [('none', 'cpu'), ('pytorch', 'cuda'), ('mpi', 'npu')]
)
def test_nothing_is_done_elsewhere(no_launcher, monkeypatch, launcher, device):
    monkeypatch.setattr(compat, 'get_device', lambda: device)
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl'))))
    compat.setup_cpu_distributed(cfg, launcher)
    assert cfg.to_dict() == dict(env_cfg=dict(dist_cfg=dict(backend='nccl')))
    assert not torch.distributed.is_initialized()


def test_a_missing_launcher_is_named(no_launcher, monkeypatch):
    with pytest.raises(InputError, match='RANK, WORLD_SIZE, LOCAL_RANK'):
        compat.setup_cpu_distributed(Config(), 'pytorch')
    with pytest.raises(InputError, match="'torchrun' is unknown"):
        compat.setup_cpu_distributed(Config(), 'torchrun')


TRAIN = """
import sys
import torch
from mmengine.config import Config
from mmengine.dist import all_gather
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpose_ext.compat import load_checkpoint, setup_cpu_distributed

class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x, mode):
        return dict(loss=self.layer(x).square().mean())

cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=60))))
setup_cpu_distributed(cfg, 'pytorch')
runner = Runner(
    Model(),
    work_dir=sys.argv[1],
    cfg=cfg,
    launcher='pytorch',
    train_dataloader=dict(
        dataset=[dict(x=torch.tensor([i / 9])) for i in range(10)],
        sampler=dict(type='DefaultSampler'), batch_size=1, num_workers=0,
        collate_fn=dict(type='default_collate')),
    train_cfg=dict(by_epoch=True, max_epochs=1),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    custom_hooks=[dict(type='RandomStateHook')],
    randomness=dict(seed=0, diff_rank_seed=True),
)
model = runner.train()
weights = all_gather(model.module.layer.weight.detach())
assert torch.isfinite(weights[0]).all()
assert weights[0].equal(weights[1]) and len(weights) == 2
assert runner.iter == 5
states = load_checkpoint(sys.argv[1] + '/epoch_1.pth')['random_states']
assert len(states) == 2 and not states[0]['torch'].equal(states[1]['torch'])
print('trained', flush=True)
"""


@pytest.mark.slow
def test_two_processes_train_on_the_cpu(tmp_path):
    script = tmp_path / 'train.py'
    script.write_text(TRAIN)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    done = run_python(
        *('-m', 'torch.distributed.run', '--nproc_per_node', '2'),
        *('--master_port', str(port), str(script), str(tmp_path / 'work')),
        CUDA_VISIBLE_DEVICES='-1',
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('trained') == 2
    assert 'destroy_process_group' not in done.stderr
