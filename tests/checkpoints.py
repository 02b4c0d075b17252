"""Checkpoint files of the kinds that exist."""

import pickle
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

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


class Call:
    """Pickled, it is a call that is to be made when it is loaded."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call
