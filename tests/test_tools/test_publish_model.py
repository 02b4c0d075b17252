"""tools/publish_model.py, from the command line."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmpose.apis import init_model

from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError
from mmpose_ext.inference import shipped
from mmpose_ext.inference.poses import estimate_poses, load_pose_model

TOOL = Path(__file__).parents[2] / 'tools/publish_model.py'
main = runpy.run_path(str(TOOL))['main']


def test_half_the_size_and_the_same_poses(
    lspet_weights, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(main.__globals__, 'LARGEST_FILE', 1e9)
    config = str(load_config(shipped.DEFAULT_MODEL).filename)
    checkpoint = torch.load(lspet_weights)
    checkpoint['optimizer'] = dict(state=checkpoint['state_dict'])
    whole = tmp_path / 'epoch_1.pth'
    torch.save(checkpoint, whole)
    main([config, str(whole), str(tmp_path / 'new')])
    (path,) = (tmp_path / 'new').iterdir()
    assert path.name == f'{shipped.DEFAULT_MODEL}.pth'
    size = path.stat().st_size
    assert capsys.readouterr().out == f'{path}: {size / 1e6:.2f} MB\n'
    assert size < 0.56 * lspet_weights.stat().st_size
    content = torch.load(path, weights_only=True)
    assert set(content) == {'state_dict', 'meta'}
    assert content['meta']['converted_from'] == 'epoch_1.pth'

    image = np.random.default_rng(0).integers(256, size=(90, 80, 3))
    models = [
        load_pose_model(load_config(config), str(file), 'cpu')
        for file in (whole, path)
    ]
    a, b = (estimate_poses(m, image.astype(np.uint8)) for m in models)
    assert np.ptp(a.keypoint_scores) > 0.01
    np.testing.assert_allclose(a.keypoint_scores, b.keypoint_scores, atol=5e-3)
    # What MMPose's own function needs is in the config.
    model = init_model(config, str(path), device='cpu')
    assert model.dataset_meta['dataset_name'] == 'lsp'
    assert model.dataset_meta['num_keypoints'] == 14


def test_mistakes(pose_model, bottomup_model, tmp_path, monkeypatch):
    config, checkpoint = pose_model
    out = tmp_path / 'out'
    with pytest.raises(InputError, match='another architecture'):
        main([config, bottomup_model[1], str(out)])
    monkeypatch.setitem(main.__globals__, 'LARGEST_FILE', 1000)
    with pytest.raises(InputError, match=r'MB, expected at most 0\.001:'):
        main([config, checkpoint, str(out)])
    assert not out.exists()

    monkeypatch.setitem(main.__globals__, 'LARGEST_FILE', 5_000_000)
    main([config, checkpoint, str(out)])
    (path,) = out.iterdir()
    written = path.stat().st_mtime_ns
    with pytest.raises(InputError, match='exists already'):
        main([config, checkpoint, str(out)])
    assert path.stat().st_mtime_ns == written
    main([config, checkpoint, str(out), '--overwrite'])
    assert path.stat().st_mtime_ns > written
