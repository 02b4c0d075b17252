"""What exported files say about their model, as text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpose_ext.deploy.metadata import FORMAT, MAX_LENGTH, pack, unpack
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
    text = pack(dict(REST, format=FORMAT, value=value))
    found = unpack(text, 'f')['value']
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize('dtype', ['float32', 'uint8', 'int64'])
def test_arrays(dtype):
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    text = pack(dict(REST, format=FORMAT, a=[array], b=np.float32(0.5)))
    found = unpack(text, 'f')
    np.testing.assert_array_equal(found['a'][0], array)
    assert found['a'][0].dtype == array.dtype
    assert found['b'] == 0.5


REST = dict.fromkeys(
    (
        *('structure', 'weights', 'model', 'pipeline', 'dataset_meta'),
        *('kind', 'parts'),
    )
)


@pytest.mark.parametrize('value', [float('inf'), float('nan')])
def test_numbers_that_are_none(value):
    with pytest.raises(InputError, match='plain and finite values'):
        pack(dict(a=[value]))


def test_missing_entries():
    rest = {k: v for k, v in REST.items() if k != 'kind'}
    with pytest.raises(InputError, match=r"'m\.onnx' is broken.*lacks kind"):
        unpack(pack(dict(format=FORMAT, **rest)), 'm.onnx')


def test_other_values():
    with pytest.raises(InputError, match=r'plain and finite values.*got type'):
        pack(dict(type=int))


# Texts that are no description, some of which crash Python's parser.
TEXTS = {
    'call': '__import__("os").system("touch trace")',
    'lambda': '(lambda: 1)()',
    'deep': '[' * 100_000 + ']' * 100_000,
    'nested': "{'a': " + '[' * 40 + ']' * 40 + '}',
    'minus': '-' * 100_000 + '1',
    'minus after numbers': '1' + '-1' * 50_000,
    'calls': '{}' + '()' * 50_000,
    'indices': '[0]' + '[0]' * 50_000,
    'digits': '9' * 100_000,
    'product': "'9' * 10**7",
    'infinite': '{"a": 1e999}',
    'bytes': "{'a': b'x'}",
    'set': '{1, 2}',
    'complex': "{'a': 1j}",
    'unhashable': '{[]: 1}',
    'unfinished': '{"a": ',
    'null': '{"a": "\0"}',
    'long': repr(dict(a='a' * MAX_LENGTH)),
    'names': "{'a': None, 'b': Ellipsis}",
    'array of nothing': "{'__array__': [300], 'dtype': 'uint8', 'a': {}}",
    'list': '[]',
    'name': "{'a': b}",
    'array without a dtype': "{'__array__': [1]}",
}


@pytest.mark.parametrize('name', TEXTS)
def test_texts_that_are_none(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"'f\.onnx' is broken: its desc"):
        unpack(TEXTS[name], 'f.onnx')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'other, shown',
    [(99, '99'), (True, 'True'), (np.ones(2), r'array\(\[1., 1.\]\)')],
)
def test_other_format(other, shown):
    with pytest.raises(InputError, match=f'format {shown}, expected {FORMAT}'):
        unpack(pack(dict(format=other)), 'm.onnx')


@pytest.mark.parametrize(
    'values, dtype, message',
    [
        ([1], 'O', "of numbers, got the dtype 'O'"),
        (['a'], 'U99999999', "of numbers, got the dtype 'U9"),
        ([[1], [2, 3]], 'int8', 'its description'),
        (['nan'], 'float32', 'finite numbers'),
    ],
)
def test_arrays_that_are_none(values, dtype, message):
    text = repr(dict(a={'__array__': values, 'dtype': dtype}))
    with pytest.raises(InputError, match=f'is broken.*{message}'):
        unpack(text, 'm.onnx')
