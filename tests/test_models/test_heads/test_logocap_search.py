import logocap_reference as ref
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmpose_ext.codecs import KeypointExpansion
from mmpose_ext.models.heads import logocap_search
from mmpose_ext.models.heads.logocap_search import ContextSearch, pack_poses
from mmpose_ext.models.layers.keypoint_sampling import sample_codes

IMAGE = torch.tensor([1, 0, 1])


def make_search(sigmas=ref.SIGMAS, ksize=5, stride=4):
    grid = KeypointExpansion(sigmas, ksize).grid
    return ContextSearch(grid, stride, ref.RADIUS, ref.SIGMA)


def make_poses():
    torch.manual_seed(0)
    size = torch.tensor([40, 32])
    return torch.rand(3, 3, 2, dtype=torch.double) * (size + 20) - 10


def test_local_codes_are_samples_of_the_embedding():
    _, _, embedding = ref.make_maps()
    poses = make_poses()
    codes = make_search().local_codes(embedding, IMAGE, poses)
    for i, image in enumerate(IMAGE):
        expected = ref.take_codes(embedding[image], poses[i].tolist())
        assert_close(codes[i], expected)
    half = embedding.bfloat16()
    half = make_search().local_codes(half, IMAGE, poses.float())
    assert half.dtype == torch.bfloat16


def test_grids_that_reach_far(monkeypatch):
    """The widest grid, and no other, says how much of the map is read."""
    spans = []
    monkeypatch.setattr(
        logocap_search,
        'sample_codes',
        lambda *args: spans.append(args[-1]) or sample_codes(*args),
    )
    search = make_search((0.01, 0.02, 0.04), ksize=3)  # 1, 2 and 4 px apart
    search.local_codes(ref.make_maps()[2], IMAGE, make_poses())
    assert spans == [2]  # 2 steps of 4 px, in cells of 4 px


def test_adapted_windows_and_values():
    heatmaps, *_ = ref.make_maps()
    poses = make_poses()
    local = torch.rand(3, 3, 5, 5, dtype=torch.double)
    windows = make_search().adapt(heatmaps, IMAGE, poses, local)
    values = make_search().values(heatmaps, IMAGE, poses)
    for i, image in enumerate(IMAGE):
        large = ref.enlarge(heatmaps[image])
        for k, (x, y) in enumerate(poses[i].tolist()):
            window = ref.take_window(large[k], x, y)
            assert_close(windows[i, k], ref.convolve(window, local[i, k]))
            assert values[i, k].item() == pytest.approx(
                ref.sample(large[k], x, y)
            )


def test_poses_of_a_batch():
    poses = torch.tensor([[[1.0, 2], [5, 3]], [[3, 3], [3, 4]], [[7, 8]] * 2])
    scores = torch.tensor([[0.5, 0.25], [-1, 1], [1, 0]])
    image = torch.tensor([2, 2, 0])
    first, second, third = pack_poses(image, poses, scores, 3)
    assert first.keypoints.tolist() == [[[7, 8], [7, 8]]]
    assert first.bbox_scores.tolist() == [0.5]
    # The mean score of the third image's other pose is not above 0.
    assert third.keypoints.tolist() == poses[:1].tolist()
    assert third.keypoint_scores.tolist() == [[0.5, 0.25]]
    assert third.bbox_scores.tolist() == [0.375]
    assert third.bboxes.tolist() == [[1, 2, 5, 3]]
    shapes = second.keypoints.shape, second.bboxes.shape
    assert shapes == ((0, 2, 2), (0, 4))
    assert isinstance(second.bbox_scores, np.ndarray)


@pytest.mark.parametrize(('radius', 'sigma'), [(0, 1.0), (3, 0)])
def test_wrong_windows(radius, sigma):
    name = 'window_sigma' if radius else 'window_radius'
    with pytest.raises(ValueError, match=rf'^{name} must .* got 0$'):
        ContextSearch(None, 4, radius, sigma)
