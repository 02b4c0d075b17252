from pathlib import Path

import pytest
from mmengine.fileio import LocalBackend, get_file_backend, put

import mmpose_ext  # noqa: F401


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / 'new' / 'epoch_1.pth'
    put(b'old', str(path), backend_args=dict(backend='atomic'))
    assert path.read_bytes() == b'old'

    def killed(self, obj):
        with open(self, 'wb') as f:
            f.write(obj[:1])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'write_bytes', killed)
        with pytest.raises(KeyboardInterrupt):
            put(b'new', str(path), backend_args=dict(backend='atomic'))
    assert path.read_bytes() == b'old'

    put(b'new', str(path), backend_args=dict(backend='atomic'))
    assert path.read_bytes() == b'new'
    assert [p.name for p in path.parent.iterdir()] == ['epoch_1.pth']


def test_other_files_are_written_as_before():
    assert type(get_file_backend('a.txt')) is LocalBackend
