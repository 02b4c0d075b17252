import pytest

from mmpose_ext.engine import checks
from mmpose_ext.errors import InputError


def test_files(tmp_path):
    path = tmp_path / 'a.json'
    with pytest.raises(InputError, match=f"^list '{path}' does not exist"):
        checks.read_json(str(path), 'list')
    path.touch()
    with pytest.raises(InputError, match='is empty'):
        checks.read_json(str(path), 'list')
    for content in (b'{"images": [', b'\x89PNG\xff'):
        path.write_bytes(content)
        with pytest.raises(InputError, match='is not JSON'):
            checks.read_json(str(path), 'list')
    path.write_text('[1]')
    assert checks.read_json(str(path), 'list') == [1]
