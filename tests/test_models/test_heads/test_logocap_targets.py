from math import exp

import logocap_reference as ref
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmpose_ext.models.heads.logocap_targets import (
    Matches,
    match_poses,
    oks_loss,
    stack_targets,
    window_loss,
)


def match_with(head, maps, samples):
    heatmaps, offsets, _ = maps
    return match_poses(
        heatmaps,
        offsets,
        samples,
        head.decoder,
        head.expansion.grid,
        head.match_thr,
    )


def test_targets_of_all_samples():
    samples = ref.make_targets()
    heatmaps, weights, *offsets = stack_targets(samples)
    for i, sample in enumerate(samples):
        field = sample.gt_fields
        assert_close(heatmaps[i], field.heatmaps)
        assert_close(weights[i], field.heatmap_weights * field.heatmap_mask)
        assert_close(offsets[0][i], field.offsets)
        assert_close(offsets[1][i], field.offset_weights)
        assert not field.heatmap_mask.all()
    for sample in samples:
        del sample.gt_fields.heatmap_mask
    _, weights, *_ = stack_targets(samples)
    assert_close(weights[0], samples[0].gt_fields.heatmap_weights)


@pytest.mark.parametrize('match_thr', [0.5, 0.05])
def test_matches_are_those_of_loops(match_thr):
    """In images of two persons, one, and nobody."""
    head = ref.make_head(match_thr=match_thr)
    samples = ref.make_targets(batch=3)
    heatmaps, offsets, _ = maps = ref.make_maps(batch=3)
    # One image whose centre points at its person.
    heatmaps[0] = samples[0].gt_fields.heatmaps
    offsets[0] = samples[0].gt_fields.offsets + 0.1 * offsets[0]
    expected = []
    for i, sample in enumerate(samples):
        labels = sample.gt_instance_labels
        persons = [
            person
            for person in zip(
                labels.keypoint_labels.tolist(),
                labels.keypoint_weights.tolist(),
                labels.areas.tolist(),
            )
            if max(person[1]) > 0
        ]
        found = []
        for _, *place in ref.find_centers(ref.enlarge(heatmaps[i])[-1])[:4]:
            pose = ref.read_pose(offsets[i], *place)
            found.append((i, pose, *ref.match(pose, persons)))
        good = [m for m in found if m[3] >= match_thr]
        expected += good or found[:1]

    matches = match_with(head, maps, samples)
    assert 1 <= matches.good.sum() < len(matches.good) == len(expected)
    for n, (image, pose, oks, score, person) in enumerate(expected):
        assert matches.image[n] == image
        assert_close(matches.poses[n], torch.tensor(pose).double())
        assert_close(matches.oks[n], torch.from_numpy(oks))
        good = score >= match_thr
        assert matches.good[n] == good
        gain = good * (oks.max(axis=(1, 2)) - oks[:, 2, 2])
        assert_close(matches.gain[n], torch.from_numpy(gain))
        if person:
            assert matches.keypoints[n].tolist() == person[0]


def test_each_image_has_a_pose_to_refine():
    """The good ones, or else the best one, whatever other images have."""
    maps = ref.make_tiny_maps(
        [(0.9, 3, 5), (0.6, 11, 6)],
        [(0.3, 12, 9), (0.8, 7, 3)],
        [(0.9, 4, 4), (0.7, 6, 4)],
    )
    samples = [
        ref.make_tiny_sample((11, 6)),
        ref.make_tiny_sample(),
        ref.make_tiny_sample((4, 4), (0, 0)),
    ]
    matches = match_with(ref.make_tiny_head(), maps, samples)
    assert matches.poses[:, 0].tolist() == [[11, 6], [7, 3], [4, 4], [6, 4]]
    assert matches.image.tolist() == [0, 1, 2, 2]
    assert matches.good.tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ('match_thr', 'poses'), [(1.0, [[11, 6]]), (0.0, [[3, 5], [11, 6]])]
)
def test_a_pose_may_just_reach_the_threshold(match_thr, poses):
    maps = ref.make_tiny_maps([(0.9, 3, 5), (0.6, 11, 6)])
    head = ref.make_tiny_head(match_thr=match_thr)
    matches = match_with(head, maps, [ref.make_tiny_sample((11, 6))])
    # An OKS of 1 is a match, and one of 0 would be.
    assert matches.poses[:, 0].tolist() == poses


def test_a_match_keeps_no_graph():
    maps = [m.requires_grad_() for m in ref.make_tiny_maps([(0.5, 10, 6)])]
    matches = match_with(
        ref.make_tiny_head(), maps, [ref.make_tiny_sample((11, 6))]
    )
    assert not any(tensor.requires_grad for tensor in matches)


@pytest.mark.parametrize(
    ('index', 'name'), [(0, 'heatmap'), (1, 'offset map')]
)
def test_what_is_not_finite_is_named(index, name):
    maps = ref.make_maps()
    maps[index][1, 2, 3, 4] = torch.nan
    with pytest.raises(ValueError, match=f'^{name} 2 of image 1 holds NaN'):
        match_with(ref.make_head(), maps, ref.make_targets())


def make_matches(good=(True, True)):
    torch.manual_seed(0)
    good = torch.tensor(good)
    poses = torch.tensor([[[5.0, 6], [8, 9]], [[1, 2], [3, 4]]]).double()
    return Matches(
        torch.tensor([0, 0]),
        poses,
        torch.rand(2, 2, 3, 3).double(),
        poses + torch.tensor([1, -2]),
        good,
        torch.tensor([[0.5, 0.25], [1, 0]]).double() * good[:, None],
    )


@pytest.mark.parametrize('good', [(True, True), (True, False), (False,) * 2])
def test_oks_loss_is_a_mean_over_good_poses(good):
    matches = make_matches(good)
    local = torch.rand(2, 2, 3, 3).double()
    squares = (local - matches.oks) ** 2
    total = sum(
        matches.gain[i, k].item() * squares[i, k, row, column].item() / 18
        for i, k, row, column in np.ndindex(2, 2, 3, 3)
    )
    loss = oks_loss(local, matches).item()
    assert loss == pytest.approx(total / max(sum(good), 1))
    assert (loss > 0) == any(good)


def test_window_loss_is_a_mean_over_all_poses():
    """The Gaussian's peak is 1 px to the right of a pose, and 2 above it."""
    matches = make_matches((True, False))
    windows = torch.rand(2, 2, 7, 7).double()
    total = 0
    for i, k, row, column in np.ndindex(2, 2, 7, 7):
        square = (column - 3 - 1) ** 2 + (row - 3 + 2) ** 2
        error = windows[i, k, row, column].item() - exp(-square / (2 * 1.5**2))
        total += matches.gain[i, k].item() * error**2
    loss = window_loss(windows, matches, 1.5).item()
    assert loss == pytest.approx(total / (2 * 2 * 7 * 7))
