"""Files that are whole or as they were before."""

import errno
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mmpose_ext.files import naming_output, replacing, write_atomic, write_json

# How often each of two processes writes one file.
WRITES = int(os.environ.get('MMPOSE_EXT_WRITES', '200'))
# Writes of another length each, so that a mix of two shows.
WRITER = """
import sys
from mmpose_ext.files import write_json
path, writer, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for i in range(number):
    write_json(path, [writer] * (20_000 * writer + i))
"""


def names(folder: Path):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def old(tmp_path) -> Path:
    path = tmp_path / 'x.json'
    write_json(path, ['old'])
    return path


def check_unchanged(old: Path) -> None:
    assert json.loads(old.read_text()) == ['old']
    assert names(old.parent) == ['x.json']


def test_content_and_name(tmp_path):
    path = tmp_path / 'new/folder/x.json'
    write_json(str(path), {'a': [1, None]})
    assert path.read_text() == '{"a": [1, null]}'
    with replacing(path, '.mp4') as part:
        assert part.name.startswith('x.json.')
        assert part.name.endswith('.part.mp4')
        assert names(path.parent) == ['x.json', part.name]
        part.write_bytes(b'new')
        assert path.read_text() == '{"a": [1, null]}'
    assert path.read_bytes() == b'new'
    assert names(path.parent) == ['x.json']
    long = tmp_path / ('ä' * 127)  # 254 bytes
    write_atomic(long, b'a')
    assert long.read_bytes() == b'a'


def test_two_writers_at_once_do_not_share_a_name(old):
    with replacing(old) as one, replacing(old) as two:
        one.write_bytes(b'1')
        two.write_bytes(b'2')
    assert old.read_bytes() == b'1'  # the last to end
    assert names(old.parent) == ['x.json']


@pytest.mark.parametrize('error', [KeyboardInterrupt, ZeroDivisionError])
def test_an_exception_leaves_the_old_file(error, old):
    with pytest.raises(error), replacing(old) as part:
        part.write_bytes(b'half')
        raise error
    check_unchanged(old)


def test_content_is_on_the_disk_before_the_name(old, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def sync(descriptor):
        done.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    def rename(source, target):
        done.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr('os.fsync', sync)
    monkeypatch.setattr('os.replace', rename)
    write_atomic(old, b'12345')
    assert done == [5, 'x.json']


def test_a_full_disk(old):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(OSError) as caught:
            write_atomic(old, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(old)
    check_unchanged(old)


def test_a_folder_that_cannot_be_written():
    user = os.geteuid()
    # Not pytest's, which only its owner can enter.
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder, 'x.json')
        write_json(old, ['old'])
        Path(folder).chmod(0o555)
        try:
            if user == 0:  # may write everywhere
                os.seteuid(65534)
            with pytest.raises(PermissionError) as caught:
                write_json(old, ['new'])
        finally:
            os.seteuid(user)
            Path(folder).chmod(0o755)
        assert caught.value.filename == str(old)
        check_unchanged(old)


def test_errors_about_other_files_keep_their_name(old, tmp_path):
    with pytest.raises(FileNotFoundError) as caught, replacing(old):
        (tmp_path / 'gone').read_bytes()
    assert caught.value.filename == str(tmp_path / 'gone')
    check_unchanged(old)


def test_what_is_no_regular_file_stays(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'folder').mkdir()
    for name in ('pipe', 'folder'):
        with pytest.raises(FileExistsError, match='no regular file'):
            write_atomic(tmp_path / name, b'a')
    assert (tmp_path / 'pipe').is_fifo()
    assert names(tmp_path) == ['folder', 'pipe']


def test_permissions(tmp_path):
    path = tmp_path / 'x'
    before = os.umask(0o027)
    try:
        write_atomic(path, b'1')
        assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(0o604)
        write_atomic(path, b'2')
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o604


def test_a_link_keeps_pointing_to_its_file(tmp_path):
    (tmp_path / 'there').mkdir()
    link = tmp_path / 'link'
    link.symlink_to('there/x')
    write_atomic(link, b'1')
    assert link.is_symlink()
    assert (tmp_path / 'there/x').read_bytes() == b'1'
    assert names(tmp_path / 'there') == ['x']


def test_two_processes_write_one_file(tmp_path):
    """``MMPOSE_EXT_WRITES=2000`` makes the long version of it."""
    path = tmp_path / 'x.json'
    writers = [
        subprocess.Popen(
            [sys.executable, '-c', WRITER, str(path), str(i), str(WRITES)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in (1, 2)
    ]
    reads = {1: 0, 2: 0}
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            content = json.loads(path.read_text())
            (writer,) = set(content)
            assert 0 <= len(content) - 20_000 * writer < WRITES
            reads[writer] += 1
    assert [writer.communicate()[1] for writer in writers] == ['', '']
    assert names(tmp_path) == ['x.json']
    assert min(reads.values()) > 0
    print(f'{WRITES} writes by each of 2 processes, read: {reads}')


@pytest.mark.parametrize(
    'number, filename, named',
    [
        (errno.ENOSPC, None, 'out.onnx'),
        (errno.ENOSPC, 'drafts/a/b.onnx', 'out.onnx'),
        (errno.ENOSPC, 'other/b.onnx', 'other/b.onnx'),
        (errno.ENOENT, None, None),
    ],
)
def test_an_output_is_named_where_the_system_does_not(number, filename, named):
    with pytest.raises(OSError) as e, naming_output('out.onnx', 'drafts'):
        raise OSError(number, 'reason', filename)
    assert e.value.filename == named
