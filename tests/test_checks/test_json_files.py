import codecs
import gc
import gzip
import json

import pytest

from mmpose_ext import checks
from mmpose_ext.checks.json_files import without_collection
from mmpose_ext.errors import InputError


def test_files(tmp_path):
    path = tmp_path / 'a.json'
    with pytest.raises(InputError, match=r"list '.*a\.json' does not exist"):
        checks.read_json(str(path), 'list')
    path.touch()
    with pytest.raises(InputError, match='is empty'):
        checks.read_json(str(path), 'list')
    with pytest.raises(InputError, match='is a folder'):
        checks.read_json(str(tmp_path), 'list')
    path.write_text('[1]')
    assert checks.read_json(str(path), 'list') == [1]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'{"images": [', 'is not JSON: Expecting value: line 1'),
        (b'{"images": []} x', 'is not JSON: Extra data'),
        (b'\x89PNG\xff', 'is not JSON in UTF-8'),
        ('{"a": "ä"}'.encode('latin-1'), 'is not JSON in UTF-8'),
        (codecs.BOM_UTF8 + b'{}', 'begins with a byte order mark'),
        ('{}'.encode('utf-16'), 'begins with a byte order mark'),
        (gzip.compress(b'{}', mtime=0), r'is compressed \(gzip\)'),
        (b'{"a": ' + b'1' * 9999 + b'}', 'number of more digits than'),
        (b'[' * 10**5, 'nested too deeply'),
        (b'{"a":' * 10**5, 'nested too deeply'),
        (b'{"a": 1, "a": 2}', "1 object with .* first has 'a' twice$"),
        (b'[{"id": 5, "b": [{"c": 1, "c": 1}], "id": 6}]',
         "2 objects .* first has 'c' twice$"),
        (b'[{"id": 5, "b": 1, "b": 2}]',
             "1 object with .*'b' twice .its id is 5.$"),
    ],
)  # fmt: skip
def test_what_is_no_json(tmp_path, content, message):
    path = tmp_path / 'a.json'
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as e:
        checks.read_json(str(path), 'list')
    assert str(e.value).startswith(f"list '{path}'")


def test_what_is_read_is_what_json_reads(tmp_path):
    path = tmp_path / 'a.json'
    text = '{"a": [1, 2.5, NaN, 1e999, true, null, "\\u00e4ö"], "b": {"c": 1}}'
    path.write_text(text, encoding='utf-8')
    found = checks.read_json(str(path), 'list')
    assert json.dumps(found) == json.dumps(json.loads(text))


def test_garbage_is_collected_again():
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            with pytest.raises(KeyError), without_collection():
                assert not gc.isenabled()
                raise KeyError
            assert gc.isenabled() is enabled
        finally:
            gc.enable()
