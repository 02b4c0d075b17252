import pytest
import torch
from torch.nn import functional as F

from mmpose_ext.models.layers import ResolutionAttention
from mmpose_ext.models.layers.resolution_attention import mean_upsampled


def pool(maps):
    return [x.mean((2, 3)) for x in maps]


def naive_weights(attention, maps):
    """Equations 1 and 2, one scalar at a time, in float64."""
    num = len(maps)
    weights = torch.zeros(num, len(maps[0]), dtype=torch.float64)
    for n in range(len(maps[0])):
        scores = []
        for h, x in enumerate(maps):
            pooled = [channel.double().mean() for channel in x[n]]
            score = attention.bias[h].double()
            for c, value in enumerate(pooled):
                score = score + attention.weight[h, c].double() * value
            scores.append(score)
        total = sum(torch.exp(score) for score in scores)
        for h, score in enumerate(scores):
            weights[h, n] = (
                attention.omega[h].double() * torch.exp(score) / total
                + attention.beta[h].double()
            )
    return weights


def test_weights_follow_the_equations():
    torch.manual_seed(0)
    attention = ResolutionAttention(channels=5, num_inputs=3)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    maps = [torch.randn(2, 5, 8 >> h, 6 >> h) for h in range(3)]

    weights = attention(pool(maps))

    assert weights.shape == (3, 2, 1, 1, 1)
    torch.testing.assert_close(
        weights.flatten(1).double(),
        naive_weights(attention, maps),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize('num_inputs', [2, 3, 4])
@pytest.mark.parametrize(
    'dtype', [torch.float16, torch.bfloat16, torch.float32]
)
def test_starts_at_exactly_one(num_inputs, dtype):
    attention = ResolutionAttention(8, num_inputs).to(dtype)
    maps = [torch.randn(2, 8, 4, 4).to(dtype) for _ in range(num_inputs)]
    weights = attention(pool(maps))
    assert weights.dtype == dtype
    assert (weights == 1).all()
    assert (attention.bias == 0).all()


def test_gradcheck():
    torch.manual_seed(0)
    attention = ResolutionAttention(3, 2).double()
    torch.nn.init.normal_(attention.weight)
    means = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(attention, means)


def test_mean_after_upsampling_by_hand():
    """3 to 4 and 2 to 3 cells repeat the first row and the first column."""
    x = torch.tensor([[1.0, 10], [20, 300], [400, 5000]])
    mean = mean_upsampled(x.view(1, 1, 3, 2), (4, 3))
    assert mean.shape == (1, 1)
    # Rows 0, 0, 1 and 2, of which the left column counts twice.
    expected = (2 * (2 + 10) + 40 + 300 + 800 + 5000) / 12
    assert mean.item() == pytest.approx(expected)


SIZES = [
    *((n, m) for n in ((1, 1), (2, 3), (5, 4), (8, 6)) for m in ((8, 6),)),
    *(((17, 13), (33, 25)), ((9, 7), (33, 25)), ((5, 4), (33, 25))),
    *(((4, 3), (7, 6)), ((3, 2), (5, 3)), ((1, 1), (1, 1))),
    *(((2, 2), (4, 3)), ((2, 2), (3, 4))),  # one side by a whole factor
]


@pytest.mark.parametrize('low, high', SIZES)
@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(mode='bilinear', align_corners=False),
        dict(mode='bilinear', align_corners=True),
    ],
    ids=str,
)
def test_mean_is_that_of_the_upsampled_map(low, high, options):
    torch.manual_seed(0)
    x = torch.rand(2, 3, *low, dtype=torch.float64, requires_grad=True)
    upsampled = F.interpolate(x, high, **options)
    actual = mean_upsampled(x, high, **options)
    torch.testing.assert_close(actual, upsampled.mean((2, 3)))
    weights = torch.rand(2, 3, dtype=torch.float64)
    gradients = [
        torch.autograd.grad((mean * weights).sum(), x)[0]
        for mean in (actual, upsampled.mean((2, 3)))
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_rounds_the_mean_alone(dtype):
    """Shares of a third in bfloat16 would be off by up to 0.4 %."""
    torch.manual_seed(0)
    x = torch.rand(1, 64, 17, 13).to(dtype)
    exact = mean_upsampled(x.double(), (33, 25))
    mean = mean_upsampled(x, (33, 25))
    assert mean.dtype == dtype
    assert torch.equal(mean, exact.to(dtype))


def test_refuses_wrong_arguments():
    for args, name in (((0, 2), 'channels'), ((4, 0), 'num_inputs')):
        with pytest.raises(ValueError, match=f'{name} must be .*, got 0$'):
            ResolutionAttention(*args)
