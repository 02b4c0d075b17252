import errno
import os

import pytest
from mmengine.config import Config
from mmpose.registry import MODELS

from mmpose_ext import checks
from mmpose_ext.errors import InputError


def test_output_file(tmp_path):
    path = tmp_path / 'out.json'
    checks.check_output_file(str(path))
    path.touch()
    with pytest.raises(InputError, match='exists already'):
        checks.check_output_file(str(path))
    checks.check_output_file(str(path), overwrite=True)
    with pytest.raises(InputError, match='is a folder'):
        checks.check_output_file(str(tmp_path), overwrite=True)


def test_output_folders_are_made_and_tried(tmp_path, monkeypatch):
    folder = tmp_path / 'a' / 'b'
    checks.check_output_folder(str(folder))
    assert folder.is_dir() and not list(folder.iterdir())

    def refuse(*args, **kwargs):
        raise OSError(errno.ENOENT, 'No such file or directory', args[0])

    monkeypatch.setattr(os, 'makedirs', refuse)  # as in /proc
    with pytest.raises(InputError, match=r"'x/y' cannot be made .*: No such"):
        checks.check_output_folder('x/y')
    monkeypatch.undo()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(checks.tempfile, 'TemporaryFile', full)
    with pytest.raises(InputError, match=rf"'{folder}' .*: No space left"):
        checks.check_output_folder(str(folder))


def test_errors_of_a_runner_are_explained():
    cfg = Config(dict(model=dict(type='HRNett')))
    message = "unknown type 'HRNett' at model.type: .* mean 'HRNet'"
    with pytest.raises(InputError, match=message), checks.explain_errors(cfg):
        MODELS.build(cfg.model)
    with (
        pytest.raises(InputError, match="image 'x' does not exist"),
        checks.explain_errors(cfg),
    ):
        raise FileNotFoundError('failed to load image: x')
