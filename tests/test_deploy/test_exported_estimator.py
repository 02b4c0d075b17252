import pytest
import torch

from mmpose_ext.deploy import exported_estimator, runtimes
from mmpose_ext.errors import InputError


def test_images_of_whole_networks(exported):
    network = runtimes.open_network(exported['onnx'])
    module = exported_estimator._ExportedModule(network, bottomup=True)
    assert module(torch.rand(1, 3, 96, 64))[0].shape == (1, 17, 24, 16)
    with pytest.raises(InputError, match=r"tiny\.onnx' have .* = \(64, 90\)"):
        module(torch.rand(1, 3, 90, 64))
