"""Which initial poses LOGO-CAP's training refines, and towards what.

The targets and losses of the search, whose weights and sum are section 3.2.2
of the paper (https://arxiv.org/abs/2109.03622).
"""

from typing import NamedTuple, Tuple

import torch
from mmpose.utils.typing import OptSampleList
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...codecs import CenterOffset
from ...codecs.center_search import all_finite, check_all_finite
from ...codecs.expansion_grid import ExpansionGrid
from .logocap_search import window_steps


class Matches(NamedTuple):
    """The poses that a training step refines, n of a batch of B images."""

    image: Tensor  # index of each pose's image, (n,)
    poses: Tensor  # (n, K, 2), px
    # OKS of every point of the grid with the person that fits best,
    oks: Tensor  # (n, K, S, S)
    keypoints: Tensor  # and this person's keypoints, (n, K, 2), px
    good: Tensor  # whether it fits well enough to learn from, (n,)
    # What moving a keypoint within its grid could gain in OKS. It is 0 where
    # a pose is not good, which is there for the gradients' sake alone.
    gain: Tensor  # (n, K)


def stack_targets(samples: OptSampleList) -> Tuple[Tensor, ...]:
    """Heatmaps, their weights with the mask if any, offsets, their weights."""
    fields = [sample.gt_fields for sample in samples]
    heatmaps, weights, offsets, offset_weights = (
        torch.stack([getattr(field, name) for field in fields])
        for name in (
            *('heatmaps', 'heatmap_weights'),
            *('offsets', 'offset_weights'),
        )
    )
    if 'heatmap_mask' in fields[0]:
        mask = torch.stack([field.heatmap_mask for field in fields])
        weights = weights * mask
    return heatmaps, weights, offsets, offset_weights


@torch.no_grad()
def match_poses(
    heatmaps: Tensor,
    offsets: Tensor,
    samples: OptSampleList,
    codec: CenterOffset,
    grid: ExpansionGrid,
    match_thr: float,
) -> Matches:
    """Match the initial poses of all centres with persons.

    All good poses are taken; of an image without any, the best-scored one.
    Maps that are not finite leave no pose, and raise a ``ValueError``.
    """
    poses = codec.batch_decode(heatmaps, offsets, check_finite=False)[0]
    labels = [sample.gt_instance_labels for sample in samples]
    # A dummy person in each image, so that there is one to be gathered.
    keypoints, visible, areas = (
        pad_sequence(
            [
                torch.cat([x, x.new_zeros(1, *x.shape[1:])])
                for x in (getattr(label, name) for label in labels)
            ],
            batch_first=True,
        )
        for name in ('keypoint_labels', 'keypoint_weights', 'areas')
    )
    found = grid.match(poses, keypoints, visible, areas)
    good = found.person_maps.amax(dim=(2, 3)) >= match_thr
    taken = good.clone()
    taken[:, 0] |= ~good.any(dim=1)
    # The one place of a training step that waits for the device: it asks how
    # many poses there are, which is none only where a map is not finite.
    taken &= all_finite(heatmaps, offsets)
    image, rank = taken.nonzero(as_tuple=True)
    if not len(image):
        check_all_finite(heatmaps, offsets)
    person = found.gt_index[image, rank].clamp(min=0)
    oks, good = found.oks_maps[image, rank], good[image, rank]
    middle = grid.ksize // 2
    gain = oks.amax(dim=(2, 3)) - oks[..., middle, middle]
    return Matches(
        image,
        poses[image, rank],
        oks,
        keypoints[image, person],
        good,
        gain * good[:, None],
    )


def oks_loss(local: Tensor, matches: Matches) -> Tensor:
    """Squared error of the refinement's maps (n, K, S, S).

    It is weighted by what could be gained, and averaged over each pose and
    then over the good ones.
    """
    error = matches.gain[..., None, None] * (local - matches.oks) ** 2
    return error.mean(dim=(1, 2, 3)).sum() / matches.good.sum().clamp(min=1)


def window_loss(windows: Tensor, matches: Matches, sigma: float) -> Tensor:
    """Squared error of windows (n, K, W, W) and true Gaussians, weighted.

    ``sigma`` is in px; the mean is over all poses.
    """
    steps = window_steps(matches.poses, windows.shape[-1] // 2)
    distance = (matches.poses - matches.keypoints)[..., None] + steps
    gauss = (-(distance**2) / (2 * sigma**2)).exp()
    targets = gauss[:, :, 1, :, None] * gauss[:, :, 0, None]
    return (matches.gain[..., None, None] * (windows - targets) ** 2).mean()
