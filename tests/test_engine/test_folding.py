import pytest
import torch
from torch import nn

from mmpose_ext.engine.folding import fold_batch_norms, tensors_in


class Network(nn.Module):
    """Modules and what to do with them."""

    def __init__(self, forward, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def conv(**kwargs):
    return nn.Conv2d(4, 4, 3, padding=1, **kwargs)


def check(network, folded):
    """Fold, and compare the outputs and the number of norms left."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    network.eval()
    images = torch.randn(2, 4, 6, 5)
    with torch.no_grad():
        before = list(tensors_in(network(images)))
        norms = sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
        assert fold_batch_norms(network, lambda: network(images)) == folded
        after = list(tensors_in(network(images)))
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    left = sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert left == norms - folded


@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize(
    'module',
    [
        conv(),
        conv(bias=False),
        conv(groups=2),
        nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1, bias=False),
    ],
)
def test_norm_behind_a_convolution(module, affine):
    norm = nn.BatchNorm2d(4, eps=0.1, affine=affine)
    check(nn.Sequential(module, norm, nn.ReLU(inplace=True)), 1)


def test_grouped_transposed_convolution_stays():
    module = nn.ConvTranspose2d(4, 4, 2, stride=2, groups=2)
    check(nn.Sequential(module, nn.BatchNorm2d(4)), 0)


def test_order_of_definition_does_not_matter():
    network = Network(
        lambda m, x: m.first_norm(m.second(m.second_norm(m.first(x)))),
        first=conv(),
        first_norm=nn.BatchNorm2d(4),
        second=conv(),
        second_norm=nn.BatchNorm2d(4),
    )
    check(network, 2)


FORWARDS = {
    'something between': lambda m, x: m.norm(m.conv(x).relu()),
    'something in place between': lambda m, x: m.norm(m.conv(x).relu_()),
    'another user': lambda m, x: (lambda y: m.norm(y) + y)(m.conv(x)),
    'an output': lambda m, x: (lambda y: [m.norm(y), dict(y=y)])(m.conv(x)),
    'used twice': lambda m, x: m.norm(m.conv(m.norm(m.conv(x)))),
    'convolution used twice': lambda m, x: m.norm(m.conv(m.conv(x))),
    'norm used twice': lambda m, x: m.norm(m.norm(m.conv(x))),
    'norm first': lambda m, x: m.conv(m.norm(x)),
    'not run': lambda m, x: x,
}


@pytest.mark.parametrize('forward', FORWARDS.values(), ids=FORWARDS)
def test_what_cannot_be_folded_stays(forward):
    check(Network(forward, conv=conv(), norm=nn.BatchNorm2d(4)), 0)


def test_asking_for_a_shape_is_no_use():
    def forward(m, x):
        y = m.conv(x)
        assert y.shape == x.shape and y.dim() == 4
        return m.norm(y)

    check(Network(forward, conv=conv(), norm=nn.BatchNorm2d(4)), 1)


def test_memory_that_is_used_again_is_another_tensor():
    """Python gives the ids of tensors that are gone to new ones."""
    layers = [
        layer
        for _ in range(20)
        for layer in (conv(), nn.BatchNorm2d(4), nn.Tanh(), nn.Sigmoid())
    ]
    check(nn.Sequential(*layers), 20)


def test_norms_in_training_stay():
    network = nn.Sequential(conv(), nn.BatchNorm2d(4))
    images = torch.randn(2, 4, 6, 5)
    assert fold_batch_norms(network, lambda: network(images)) == 0
