import pickle
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from mmpose_ext.datasets import matlab_file
from mmpose_ext.datasets.matlab_file import read_matlab_array
from mmpose_ext.errors import InputError

KINDS = ('u1', 'i1', 'u2', 'i2', 'u4', 'i4', 'u8', 'i8', 'f4', 'f8')


def read(path, name='joints'):
    return read_matlab_array(str(path), name, 'annotation file')


def swapped(content):
    """A file of six doubles of a name of 7 letters, of other machines."""
    body = bytearray(content[128:])
    # Tags and numbers, of 4 and of 8 bytes; the name is at 48.
    places = [(i, 4) for i in (*range(0, 48, 4), 56, 60)]
    for i, size in (*places, *((i, 8) for i in range(64, 112, 8))):
        body[i : i + size] = body[i : i + size][::-1]
    return content[:124] + b'\1\0MI' + bytes(body)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    shape=st.lists(st.integers(0, 4), min_size=2, max_size=4),
    seed=st.integers(0, 2**31),
    compressed=st.booleans(),
)
def test_as_scipy_reads_it(tmp_path_factory, kind, shape, seed, compressed):
    path = tmp_path_factory.mktemp('mat') / 'a.mat'
    rng = np.random.default_rng(seed)
    array = np.frombuffer(rng.bytes(8 * 4**4), kind)[: int(np.prod(shape))]
    array = array.reshape(shape)
    others = dict(
        text='joints', jointss=rng.random(3), cells=np.array([1, 'a'], object),
        sparse=csc_matrix(np.eye(3)), struct=dict(joints=1), z=1j,
    )  # fmt: skip
    savemat(
        path, {**others, 'joints': array, 'z2': 1}, do_compression=compressed
    )
    found = read(path)
    np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(found, loadmat(path)['joints'])
    assert found.dtype == array.dtype and found.shape == array.shape


def test_numbers_are_stored_in_smaller_types(tmp_path):
    """MATLAB does so with whole numbers, SciPy does not."""
    path = tmp_path / 'a.mat'
    array = np.array([[1, 2, 3]], np.uint8)
    savemat(path, dict(joints=array))
    content = bytearray(path.read_bytes())
    at = 128 + 16  # the class, in the first word of the flags
    assert content[at] == 9
    content[at] = 6  # double
    path.write_bytes(content)
    assert loadmat(path, mat_dtype=True)['joints'].dtype == float
    assert read(path).tolist() == [[1, 2, 3]]


def test_both_orders_of_bytes(tmp_path):
    path = tmp_path / 'a.mat'
    array = np.array([[1.5, -2, 3], [4, 1e9, 0.1]])
    savemat(path, dict(joint_s=array))
    path.write_bytes(swapped(path.read_bytes()))
    assert (loadmat(path)['joint_s'] == array).all()
    assert (read(path, 'joint_s') == array).all()


@pytest.mark.parametrize(
    'value',
    [
        *('text', dict(x=1), np.array([[1, 'a']], object), 2j * np.ones(3)),
        csc_matrix(np.eye(3)),
    ],
)
def test_other_variables(tmp_path, value):
    path = tmp_path / 'a.mat'
    savemat(path, dict(joints=value, poses=1))
    with pytest.raises(InputError, match=r'is no array of real numbers$'):
        read(path)
    with pytest.raises(InputError, match=r"a\.mat' has no 'joint'$"):
        read(path, 'joint')


class Payload:
    """A pickle that would make a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_other_files(tmp_path):
    path, executed = tmp_path / 'a.mat', tmp_path / 'executed'
    savemat(path, dict(joints=np.ones((14, 3))), format='4')
    level4 = path.read_bytes()
    for content in (
        *(b'0', b'joints, x, y\n' * 50, b'\0' * 500, level4),
        pickle.dumps(Payload(executed)),
        pickle.dumps(dict(joints=np.ones((14, 3, 100)))),
        # MATLAB 7.3 writes HDF5.
        b'MATLAB 7.3 MAT-file'.ljust(124) + b'\0\2IM\x89HDF\r\n\x1a\n',
    ):
        path.write_bytes(content)
        with pytest.raises(InputError) as e:
            read(path)
        message = f"annotation file '{path}' is no file of MATLAB 5 to 7.2"
        assert str(e.value) == message
    assert not executed.exists()
    path.write_bytes(b'')
    with pytest.raises(InputError, match=r"a\.mat' is empty"):
        read(path)
    with pytest.raises(InputError, match="' is a folder, expected a file"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"file 'no\.mat' does not exist"):
        read('no.mat')


@pytest.mark.parametrize('compressed', [True, False])
def test_files_that_end_early(tmp_path, compressed):
    path = tmp_path / 'a.mat'
    savemat(path, dict(joints=np.arange(900.0)), do_compression=compressed)
    content = path.read_bytes()
    assert read(path).shape == (1, 900)
    for length in (129, 135, 140, 200, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="cannot read 'joints': "):
            read(path)
    path.write_bytes(content[:128])
    with pytest.raises(InputError, match="has no 'joints'"):
        read(path)


@settings(max_examples=200)
@given(seed=st.integers(0, 2**31), compressed=st.booleans())
def test_broken_files_end_in_a_message(tmp_path_factory, seed, compressed):
    path = tmp_path_factory.getbasetemp() / 'broken.mat'
    savemat(path, dict(a=1, joints=np.arange(24.0).reshape(2, 3, 4)))
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for _ in range(rng.integers(1, 4)):
        content[rng.integers(124, len(content))] = rng.integers(0, 256)
    if compressed:
        body = zlib.compress(bytes(content[128:]))
        size = len(body).to_bytes(4, 'little')
        content = content[:128] + b'\x0f\0\0\0' + size + body
    path.write_bytes(content)
    try:
        assert read(path).size == 24
    except InputError as e:
        assert str(e).startswith(f"annotation file '{path}'")


def test_sizes_that_a_file_claims(tmp_path, monkeypatch):
    path = tmp_path / 'a.mat'
    savemat(path, dict(joints=np.zeros((2, 3))))
    content = path.read_bytes()

    def claim(at, *numbers):
        words = b''.join(n.to_bytes(4, 'little', signed=n < 0)
                         for n in numbers)  # fmt: skip
        path.write_bytes(content[:at] + words + content[at + len(words) :])
        with pytest.raises(InputError) as e:
            read(path)
        return str(e.value)

    shape, numbers = 128 + 32, 128 + 56
    assert '6 numbers for an array of shape [2, 4]' in claim(shape, 2, 4)
    assert 'of shape [-2, -3]' in claim(shape, -2, -3)
    assert 'of shape [-1, 3]' in claim(shape, -1, 3)
    assert 'the file ends early' in claim(numbers + 4, 2**31)
    assert 'KeyError: 20' in claim(numbers, 20)

    # A few bytes that unpack to many are not unpacked whole.
    savemat(path, dict(joints=np.zeros(5000)), do_compression=True)
    assert not read(path).any()
    monkeypatch.setattr(matlab_file, '_MAX_BYTES', 20000)
    with pytest.raises(InputError, match='the file ends early'):
        read(path)
