import json

import pytest

from mmpose_ext.engine import variants
from mmpose_ext.errors import InputError


def test_a_variant_keeps_its_settings(tmp_path):
    folder = tmp_path / 'runs' / 'a'
    for _ in range(2):
        # What a runner leaves is no variant's config.
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'a.py').write_text('lr = 1\nother = 2\n')
        path = variants.write_variant(folder, 'lr = 1\n')
        assert path == folder / 'config' / 'a.py'
        assert path.read_text() == 'lr = 1\n'
    with pytest.raises(InputError, match='is of a run with other settings'):
        variants.write_variant(folder, 'lr = 2\n')
    assert path.read_text() == 'lr = 1\n'


def test_commands(tmp_path, monkeypatch):
    """One trains, going on with what there is, the other one tests."""
    steps = []

    def run_step(title, result, *command):
        steps.append((title, result, [str(part) for part in command[1:]]))
        result.write_text(json.dumps({'AP': 0.5}))

    monkeypatch.setattr(variants, 'run_step', run_step)
    config = variants.write_variant(tmp_path / 'a', '')
    assert variants.train_and_test(config, 7, 'plain') == {'AP': 0.5}
    (title, checkpoint, train), (_, metrics, test) = steps
    folder = str(tmp_path / 'a')
    common = ['--gpus', '0', '--work-dir', folder]
    assert title == 'Train: plain'
    assert checkpoint == tmp_path / 'a/epoch_7.pth'
    start = ['-m', 'mim', 'train', 'mmpose_ext', str(config)]
    assert train == [*start, *common, '--resume']
    start[2:3] = ['test']
    assert test == [
        *start,
        *('--checkpoint', str(checkpoint)),
        *common,
        *('--out', str(metrics)),
    ]
