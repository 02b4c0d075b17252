"""What a checkpoint may hold is loaded, and nothing that is in it runs."""

import functools
import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import (
    FORMATS,
    Call,
    assert_same,
    history,
    save,
    save_raw,
    training_checkpoint,
)
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmpose_ext.compat.checkpoint_file import load_checkpoint
from mmpose_ext.errors import InputError


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
    assert_same(load_checkpoint(path)['meta']['dataset_meta'], info)


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
    # Python 3.13 has it in a private module.
    (lambda path: Path(path), f'{type(Path()).__module__}.PosixPath'),
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
    loaded = load_checkpoint(path)
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
        return load_checkpoint(path)

    ((key, value),) = nest(50).items()
    assert value == 1
    depth = 0
    while isinstance(key, tuple):
        key, depth = key[0] if key else None, depth + 1
    assert depth in (50, 51)  # the innermost can be empty
    with pytest.raises(InputError, match='more than 50 tuples in another'):
        nest(51)


def test_an_ordered_dict_keeps_its_methods(tmp_path):
    weights = OrderedDict(weight=torch.ones(1))
    weights._metadata = {'': {'version': 2}}
    weights.copy = weights.get = 'shadowed'
    save(dict(state_dict=weights), tmp_path / 'a.pth')
    loaded = load_checkpoint(tmp_path / 'a.pth')['state_dict']
    assert vars(loaded) == {'_metadata': {'': {'version': 2}}}


def test_a_dtype_has_the_memory_layout_of_its_name(tmp_path):
    # Eight bytes that claim to be sixteen, with an object among them.
    path = tmp_path / 'a.pth'
    save_raw(
        b'cnumpy\ndtype\n(S"f8"\nI00\nI01\ntR(I3\nS">"\nN(S"a"\nt'
        b'}S"a"\n(cnumpy\ndtype\n(S"i8"\ntRI0\ntsI16\nI8\nI63\ntb.',
        path,
    )
    assert_same(load_checkpoint(path), np.dtype('>f8'))
    assert np.dtype('f8').isnative


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
    with pytest.raises(InputError, match=rf'_tensor\w* \({kind}\), expe'):
        load_checkpoint(tmp_path / 'a.pth')


def test_a_persistent_module_is_refused(tmp_path):
    path = tmp_path / 'evil.pth'
    save_raw(b'(S"module"\nNNNtQ.', path, is_zip=False)
    with pytest.raises(InputError, match='a persistent module'):
        load_checkpoint(path)
