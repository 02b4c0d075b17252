"""MMEngine loads by our reader, wherever it loads from."""

import functools
import http.server
import json
import os
import threading

import pytest
import torch
from checkpoints import Call, assert_same, save, training_checkpoint
from mmengine.runner import CheckpointLoader
from mmpose.apis import Pose2DInferencer

from mmpose_ext.compat.checkpoint_file import load_checkpoint
from mmpose_ext.errors import InputError


def test_mmengine_is_given_no_config_to_run(tmp_path):
    path = str(tmp_path / 'mmcv.pth')
    meta = dict(config='import os', epoch=3)
    save(dict(meta=meta, state_dict=dict(a=torch.ones(1))), path)
    loaded = CheckpointLoader.load_checkpoint(path)
    assert loaded['meta'] == dict(epoch=3)
    assert load_checkpoint(path)['meta'] == meta


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server of a folder, and an empty folder for downloads."""
    (tmp_path / 'www').mkdir()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Keep the test's output clean."""

    handler = functools.partial(Handler, directory=str(tmp_path / 'www'))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / 'www', f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def test_a_download_is_loaded_once_and_safely(server, tmp_path):
    folder, url = server
    save(training_checkpoint(), folder / 'good.pth')
    for _ in range(2):
        loaded = CheckpointLoader.load_checkpoint(f'{url}/good.pth', 'cpu')
        assert_same(loaded, training_checkpoint())
        (folder / 'good.pth').unlink(missing_ok=True)

    save(dict(log=Call(os.mkdir, str(tmp_path / 'made'))), folder / 'evil.pth')
    with pytest.raises(InputError, match=r'posix\.mkdir'):
        CheckpointLoader.load_checkpoint(f'{url}/evil.pth', 'cpu')
    assert not (tmp_path / 'made').exists()

    with pytest.raises(InputError, match=r'cannot download .*/absent\.pth'):
        CheckpointLoader.load_checkpoint(f'{url}/absent.pth', 'cpu')


def test_a_model_zoo_name_is_loaded_safely(server, tmp_path, monkeypatch):
    folder, url = server
    save(dict(log=Call(os.mkdir, str(tmp_path / 'made'))), folder / 'evil.pth')
    home = tmp_path / 'home'
    home.mkdir()
    save(dict(log=Call(os.mkdir, str(tmp_path / 'made'))), home / 'local.pth')
    (home / 'open_mmlab.json').write_text(
        json.dumps({'remote': f'{url}/evil.pth', 'local': 'local.pth'})
    )
    monkeypatch.setenv('MMENGINE_HOME', str(home))
    for name in ('remote', 'local'):
        with pytest.raises(InputError, match=r'posix\.mkdir'):
            CheckpointLoader.load_checkpoint(f'open-mmlab://{name}', 'cpu')
    assert not (tmp_path / 'made').exists()


def test_no_config_of_a_checkpoint_is_run(tmp_path):
    made, path = tmp_path / 'made', str(tmp_path / 'a.pth')
    config = f'a = __import__("os").mkdir({str(made)!r})\n'
    torch.save(
        dict(meta=dict(cfg=config), state_dict=dict(a=torch.ones(1))), path
    )
    with pytest.raises(InputError, match=r'a\.pth. is given without a config'):
        Pose2DInferencer(None, path, device='cpu')
    assert not made.exists()
