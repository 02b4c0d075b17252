import pytest
import torch

from mmpose_ext.models.necks import RAMNeck

MAPS = [(4, 9, 12), (6, 5, 6), (8, 3, 3)]  # odd sizes, rounded up


def make_maps():
    torch.manual_seed(0)
    return [torch.randn(2, *shape) for shape in MAPS]


def test_keeps_shapes_and_every_parameter_learns():
    neck = RAMNeck([4, 6, 8])
    feats = neck(make_maps())
    assert [x.shape[1:] for x in feats] == MAPS
    sum(x.square().mean() for x in feats).backward()
    for name, parameter in neck.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_starts_as_the_plain_sum_of_hrnets_paths():
    neck = RAMNeck([4, 6, 8]).eval()
    high, middle, low = make_maps()
    paths = neck.fuse_layers[1]
    conv, norm, _ = paths[2]
    upsampled = torch.nn.functional.interpolate(norm(conv(low)), size=(5, 6))
    expected = torch.relu(paths[0](high) + middle + upsampled)
    torch.testing.assert_close(neck([high, middle, low])[1], expected)


def test_can_return_only_the_highest_map():
    maps = make_maps()
    feats = RAMNeck([4, 6, 8], multiscale_output=False)(maps)
    assert [x.shape[1:] for x in feats] == MAPS[:1]
    for x, unchanged in zip(maps, make_maps()):
        assert torch.equal(x, unchanged)


def test_refuses_other_channels_and_maps():
    with pytest.raises(ValueError, match=r'^in_channels.* got \[4\]'):
        RAMNeck([4])
    with pytest.raises(ValueError, match=r'maps of \[4, 6\] channels, got'):
        RAMNeck([4, 6])(make_maps())
    maps = make_maps()
    maps[1] = torch.randn(2, 6, 9, 12)
    with pytest.raises(ValueError, match='half as large'):
        RAMNeck([4, 6, 8])(maps)


class _Maps(torch.nn.Module):
    """An image as its own map, and halves of it, through a neck."""

    def __init__(self, neck):
        super().__init__()
        self.neck = neck

    def forward(self, x):
        maps = [x]
        for _ in self.neck.in_channels[1:]:
            maps.append(maps[-1][..., ::2, ::2])
        return self.neck(maps)


@pytest.mark.slow
def test_exported_with_open_sizes(tmp_path, randomise):
    for package in ('onnxscript', 'onnxruntime', 'openvino'):
        pytest.importorskip(package)
    from mmpose_ext.deploy.formats import export_network
    from mmpose_ext.deploy.runtimes import open_network

    network = _Maps(randomise(RAMNeck([3, 3, 3])).float())
    path = tmp_path / 'ram.xml'
    example = torch.rand(2, 3, 18, 26)
    export_network(network, example, path, '', {0: 1, 2: 2, 3: 2})
    runtime = open_network(path, num_threads=1)
    # Upsampled by whole factors, and by 18/5, 26/7, 22/6.
    for shape in ((2, 3, 18, 26), (3, 3, 16, 24), (1, 3, 22, 16)):
        x = torch.rand(shape)
        with torch.inference_mode():
            expected = network(x)
        for e, found in zip(expected, runtime(x.numpy())):
            torch.testing.assert_close(
                torch.from_numpy(found), e, atol=1e-5, rtol=1e-5
            )
