import torch
from torch import nn

from mmpose_ext.analysis import Call, count_complexity


def count(module, *shape):
    return count_complexity(Call('x', module, (torch.rand(1, *shape),)))


def test_convolution():
    cost = count(nn.Conv2d(3, 4, 3, padding=1), 3, 8, 6)
    assert cost.params == 3 * 4 * 9 + 4
    assert cost.macs == 8 * 6 * 4 * 3 * 9


def test_grouped_and_strided_convolution():
    cost = count(nn.Conv2d(8, 16, 5, stride=2, padding=2, groups=4), 8, 8, 6)
    assert cost.macs == 4 * 3 * 16 * (8 // 4) * 25


def test_transposed_convolution():
    cost = count(nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1), 4, 8, 6)
    assert cost.params == 4 * 2 * 16 + 2
    assert cost.macs == 8 * 6 * 4 * 2 * 16  # each input cell meets each weight


def test_only_convolutions_are_counted():
    network = nn.Sequential(
        nn.Conv2d(2, 3, 1, bias=False),
        nn.BatchNorm2d(3),
        nn.Upsample(scale_factor=2),
        nn.Flatten(),
        nn.Linear(3 * 16, 5),
    ).eval()
    network[1].weight.requires_grad_(False)
    cost = count(network, 2, 2, 2)
    assert cost.params == 6 + 6 + (48 * 5 + 5)
    assert cost.macs == 2 * 2 * 2 * 3
