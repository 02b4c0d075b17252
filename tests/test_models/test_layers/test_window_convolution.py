import pytest
import torch
from torch.testing import assert_close

from mmpose_ext.models.layers.window_convolution import (
    convolve_windows,
    find_peaks,
)


def test_equals_the_sum():
    torch.manual_seed(0)
    windows = torch.randn(2, 3, 9, 9, dtype=torch.double)
    kernels = torch.randn(2, 3, 5, 5, dtype=torch.double)
    expected = torch.zeros_like(windows)
    for row in range(9):
        for column in range(9):
            for dy in range(-2, 3):
                for dx in range(-2, 3):
                    y, x = row - dy, column - dx
                    if 0 <= y < 9 and 0 <= x < 9:
                        expected[..., row, column] += (
                            kernels[..., dy + 2, dx + 2] * windows[..., y, x]
                        )
    assert_close(convolve_windows(windows, kernels), expected)


def test_moves_by_what_the_kernel_says():
    windows = torch.zeros(1, 1, 9, 9)
    windows[0, 0, 3, 4] = 2
    kernels = torch.zeros(1, 1, 5, 5)
    kernels[0, 0, 2 + 2, 2 - 1] = 3  # by 2 in y and by -1 in x
    out = convolve_windows(windows, kernels)
    assert out[0, 0, 5, 3] == 6
    assert out.count_nonzero() == 1


def test_full_precision_under_autocast():
    torch.manual_seed(0)
    windows, kernels = torch.randn(1, 2, 9, 9), torch.randn(1, 2, 3, 3)
    with torch.autocast('cpu', torch.bfloat16):
        out = convolve_windows(windows, kernels)
    assert_close(out, convolve_windows(windows, kernels), rtol=0, atol=0)


def test_many_windows_are_one_by_one():
    """Also those that do not go in one part."""
    torch.manual_seed(0)
    windows, kernels = torch.randn(10, 7, 5, 5), torch.randn(10, 7, 3, 3)
    out = convolve_windows(windows, kernels)
    for i in (0, 5, 9):
        alone = convolve_windows(windows[i : i + 1], kernels[i : i + 1])
        assert_close(out[i : i + 1], alone)


def test_gradients():
    torch.manual_seed(0)
    windows = torch.randn(1, 2, 4, 4).double().requires_grad_()
    kernels = torch.randn(1, 2, 3, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(convolve_windows, (windows, kernels))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_peak_between_the_two_largest(dtype):
    windows = torch.zeros(2, 1, 7, 7, dtype=dtype)
    windows[0, 0, 2, 5], windows[0, 0, 6, 1] = 0.8, 0.4
    windows[1, 0, 3, 3] = -1  # everything else is a tie at 0
    places, values = find_peaks(windows)
    # (5, 2) and (1, 6), less the middle (3, 3).
    assert places[0, 0].tolist() == [0.75 * 2 - 0.25 * 2, -0.75 + 0.25 * 3]
    assert values[0, 0].item() == pytest.approx(0.75 * 0.8 + 0.25 * 0.4)
    assert values[1, 0] == 0
