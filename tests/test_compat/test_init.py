"""All repairs at once."""

import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmpose_ext import compat


def test_apply_again_changes_nothing(tmp_path):
    compat.apply()
    schemes = list(CheckpointLoader._schemes)
    compat.apply()
    assert list(CheckpointLoader._schemes) == schemes
    # The module still saves, and still is the torch that it was.
    path = str(tmp_path / 'a.pth')
    mmengine_checkpoint.save_checkpoint(dict(a=torch.ones(1)), path)
    assert CheckpointLoader.load_checkpoint(path) == dict(a=torch.ones(1))
    assert mmengine_checkpoint.torch.Tensor is torch.Tensor
