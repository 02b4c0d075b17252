import pytest
import torch

from mmpose_ext.models.layers import ResolutionAttention


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

    weights = attention(maps)

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
    weights = attention(maps)
    assert weights.dtype == dtype
    assert (weights == 1).all()


def test_weights_ignore_nearest_upsampling():
    torch.manual_seed(0)
    attention = ResolutionAttention(4, 2)
    torch.nn.init.normal_(attention.weight)
    high, low = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 4, 4)
    upsampled = low.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(
        attention([high, low]), attention([high, upsampled])
    )


def test_gradcheck():
    torch.manual_seed(0)
    attention = ResolutionAttention(3, 2).double()
    torch.nn.init.normal_(attention.weight)
    maps = [
        torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True),
        torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True),
    ]
    assert torch.autograd.gradcheck(lambda *x: attention(x), maps)
