"""What exported files tell of their model, as text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpose_ext.deploy.metadata import FORMAT, pack, unpack
from mmpose_ext.errors import InputError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner)
    | st.dictionaries(st.text(max_size=3) | st.integers(), inner),
    max_leaves=8,
)  # fmt: skip


@given(PLAIN)
def test_round_trip(value):
    found = unpack(pack(dict(format=FORMAT, value=value)), 'f')['value']
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize('dtype', ['float32', 'uint8', 'int64'])
def test_arrays(dtype):
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    text = pack(dict(format=FORMAT, a=[array], b=np.float32(0.5)))
    found = unpack(text, 'f')
    np.testing.assert_array_equal(found['a'][0], array)
    assert found['a'][0].dtype == array.dtype
    assert found['b'] == 0.5


def test_other_values():
    with pytest.raises(InputError, match=r'plain values.*got type'):
        pack(dict(type=int))


@pytest.mark.parametrize(
    'text', ['{', '__import__("os").getcwd()', '[1]', '{"a": b}']
)
def test_broken_text_is_not_executed(text):
    with pytest.raises(InputError, match=r"'m\.onnx' is broken"):
        unpack(text, 'm.onnx')


def test_other_format():
    with pytest.raises(InputError, match=f'format 99, expected {FORMAT}'):
        unpack(pack(dict(format=99)), 'm.onnx')
