import pytest
import torch
from torch.autograd import gradcheck

from mmpose_ext.multitask.heatmap_refinement import refine_heatmaps


def refine_by_hand(heatmaps, offsets):
    """Equations 6, 2 and 3 as they stand, cell by cell."""
    refined = torch.zeros_like(heatmaps)
    number, num_keypoints, height, width = heatmaps.shape
    for n in range(number):
        for k in range(num_keypoints):
            for y in range(height):
                for x in range(width):
                    px = x + offsets[n, 2 * k, y, x].item()
                    py = y + offsets[n, 2 * k + 1, y, x].item()
                    for qy in range(height):
                        for qx in range(width):
                            refined[n, k, y, x] += (
                                max(0, 1 - abs(qx - px))
                                * max(0, 1 - abs(qy - py))
                                * heatmaps[n, k, qy, qx]
                            )
    return refined


@pytest.mark.parametrize('reach', [0.5, 3.0])
def test_it_is_the_bilinear_sum(reach):
    torch.manual_seed(0)
    heatmaps = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    offsets = torch.randn(2, 6, 5, 7, dtype=torch.float64) * reach
    torch.testing.assert_close(
        refine_heatmaps(heatmaps, offsets),
        refine_by_hand(heatmaps, offsets),
        rtol=0,
        atol=1e-12,
    )


def test_gradients():
    torch.manual_seed(0)
    heatmaps = torch.rand(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    # Away from whole cells, where the bilinear sum has a kink.
    offsets = torch.rand(2, 4, 4, 5, dtype=torch.float64) * 0.8 + 0.1
    offsets = (offsets + torch.randint(-2, 2, offsets.shape)).requires_grad_()
    assert gradcheck(refine_heatmaps, (heatmaps, offsets))


def test_shapes_must_fit():
    with pytest.raises(
        ValueError, match=r'\(2, 4, 5, 5\) for .*\(2, 3, 5, 5\)'
    ):
        refine_heatmaps(torch.zeros(2, 2, 5, 5), torch.zeros(2, 3, 5, 5))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_no_offsets_change_nothing_in_half_precision(dtype):
    """Whose numbers are too coarse for where a cell is."""
    heatmaps = torch.rand(1, 2, 96, 160).to(dtype)
    refined = refine_heatmaps(heatmaps, torch.zeros(1, 4, 96, 160).to(dtype))
    assert (refined - heatmaps).abs().max() < 1e-4
