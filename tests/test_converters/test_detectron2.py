import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
import torch

from mmpose_ext.converters.detectron2 import read_detectron2_weights
from mmpose_ext.errors import InputError


def make_arrays():
    rng = np.random.default_rng(0)
    return OrderedDict(
        {
            'backbone.weight': rng.normal(size=(2, 3)).astype('f4'),
            'backbone.bias': rng.normal(size=3),
            'counter': np.array(7),
            'big-endian': np.arange(200, dtype='>f4'),
            'transposed': np.arange(6, dtype='f2').reshape(2, 3).T,
        }
    )


def check(found, arrays):
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].numpy().dtype == array.dtype.newbyteorder('=')
        np.testing.assert_array_equal(found[name].numpy(), array)
        found[name] += 1  # their memory is their own


def write_pickle(folder, content, **kwargs):
    path = folder / 'model.pkl'
    path.write_bytes(pickle.dumps(content, **kwargs))
    return str(path)


@pytest.mark.parametrize('protocol', range(5))
def test_reads_pickles(protocol, tmp_path):
    content = dict(
        model=make_arrays(), __author__='Detectron2', matching_heuristics=True
    )
    path = write_pickle(tmp_path, content, protocol=protocol)
    check(read_detectron2_weights(path), make_arrays())


@pytest.mark.parametrize(
    'wrap',
    [
        lambda w: w,
        lambda w: dict(model=w, iteration=9, optimizer=dict(state={})),
        lambda w: dict(model={f'module.{k}': v for k, v in w.items()}),
    ],
    ids=['plain', 'with optimizer', 'distributed'],
)
@pytest.mark.parametrize('pickled', [True, False])
def test_reads_weights_however_they_are_wrapped(wrap, pickled, tmp_path):
    arrays = make_arrays()
    del arrays['big-endian']  # torch has none
    if pickled:
        path = write_pickle(tmp_path, wrap(arrays))
    else:
        path = str(tmp_path / 'model_final.pth')
        tensors = {k: torch.from_numpy(v) for k, v in arrays.items()}
        torch.save(wrap(tensors), path)
    check(read_detectron2_weights(path), arrays)


# -- What is refused ---------------------------------------------------------


def test_refuses_files_that_are_missing_or_broken(tmp_path):
    with pytest.raises(InputError, match=r"'.*a\.pkl' does not exist"):
        read_detectron2_weights(str(tmp_path / 'a.pkl'))
    path = write_pickle(tmp_path, dict(model=make_arrays()))
    with open(path, 'rb+') as f:
        f.truncate(300)
    with pytest.raises(InputError, match=r"'.*model\.pkl', is it whole\?"):
        read_detectron2_weights(path)


class Call:
    """Pickled, it is a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        function, *args = self.call
        return function, tuple(args)


@pytest.mark.parametrize(
    'function, name',
    [(os.mkdir, r'posix\.mkdir'), (eval, r'builtins\.eval')],
)
@pytest.mark.parametrize('suffix', ['pkl', 'pth'])
def test_runs_nothing(function, name, suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argument = (
        'made' if function is os.mkdir else "__import__('os').mkdir('x')"
    )
    content = dict(model=make_arrays(), extra=Call(function, argument))
    path = tmp_path / f'model.{suffix}'
    if suffix == 'pkl':
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=f'asks for {name},.*nothing was run'):
        read_detectron2_weights(str(path))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_refuses_arrays_of_objects(tmp_path):
    path = write_pickle(tmp_path, dict(a=np.array([None])))
    with pytest.raises(InputError, match=r"asks for numpy\.dtype\('O8'\)"):
        read_detectron2_weights(path)


@pytest.mark.parametrize(
    'content, message',
    [
        ([np.ones(1)], 'holds a list, expected weights by name'),
        ((np.ones(1),), 'holds a tuple, expected weights by name'),
        (None, 'holds a NoneType, expected weights by name'),
        (dict(model=3), "holds a int under 'model'"),
        (dict(model=dict(model=dict(a=np.ones(1)))), "a dict under 'model'"),
        ({1: 2}, 'got a int under 1'),
        ({}, 'holds a dict'),
        (dict(a=np.ones(1), epoch=3), "got a int under 'epoch'"),
        (dict(a=np.array(['x'])), "got a <U1 under 'a'"),
    ],
)
def test_refuses_files_without_weights(content, message, tmp_path):
    path = write_pickle(tmp_path, content)
    with pytest.raises(InputError, match=message) as e:
        read_detectron2_weights(path)
    assert path in str(e.value)


# -- The ImageNet backbones --------------------------------------------------


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 did its strings."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        size = struct.pack('<i', len(value))
        self.write(pickle.BINSTRING + size + value)

    dispatch[bytes] = save_bytes


@pytest.mark.parametrize('with_blobs', [True, False])
def test_names_what_to_use_instead_of_a_caffe2_backbone(with_blobs, tmp_path):
    weights = {
        'conv1_w': np.random.rand(64, 3, 7, 7).astype('f4'),
        'res_conv1_bn_s': np.ones(64, 'f4'),
        'res2_0_branch2a_w': np.ones((64, 64, 1, 1), 'f4'),
        'fc1000_b': np.ones(1000, 'f4'),
    }
    if with_blobs:
        del weights['conv1_w']
    path = tmp_path / 'R-50.pkl'
    with open(path, 'wb') as f:
        Python2Pickler(f, protocol=2).dump(
            dict(blobs=weights, cfg='') if with_blobs else weights
        )
    with pytest.raises(
        InputError, match='open-mmlab://detectron2/resnet50_caffe'
    ) as e:
        read_detectron2_weights(str(path))
    assert f"'{path}' is in the format of Caffe2" in str(e.value)
