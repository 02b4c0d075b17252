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
    """The poses that a training step refines, n of a batch of B images.

    Attributes:
        image (Tensor): Index of each pose's image, (n,).
        poses (Tensor): (n, K, 2), px.
        oks (Tensor): OKS of every point of the expansion with the person that
            fits best, (n, K, S, S).
        keypoints (Tensor): This person's keypoints, (n, K, 2), px.
        good (Tensor): Whether the person fits well enough to learn from, (n,).
        gain (Tensor): What moving a keypoint within its grid could gain in
            OKS, (n, K); 0 for poses that are not good, which are there for
            the gradients' sake where there are no others.
    """

    image: Tensor
    poses: Tensor
    oks: Tensor
    keypoints: Tensor
    good: Tensor
    gain: Tensor


def stack_targets(samples: OptSampleList) -> Tuple[Tensor, ...]:
    """What the codec has encoded for heatmaps and offsets, of all samples.

    Args:
        samples (list[PoseDataSample]): With these and, if there is one, a
            mask of the heatmaps' loss in ``gt_fields``.

    Returns:
        tuple[Tensor, Tensor, Tensor, Tensor]: Heatmaps, their weights with the
        mask, offsets and their weights.
    """
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

    Args:
        heatmaps (Tensor): Of shape (B, K + 1, h, w).
        offsets (Tensor): Of shape (B, 2 K, h, w).
        samples (list[PoseDataSample]): With ``gt_instance_labels``.
        codec (CenterOffset): What decodes the maps.
        grid (ExpansionGrid): The points around a keypoint.
        match_thr (float): See :class:`LOGOCAPHead`.

    Returns:
        Matches: All good poses; of an image without any, the best-scored one.

    Raises:
        ValueError: If a map is not finite and there is no pose therefore.
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
    """How far the refinement's judgements are from the true OKS.

    Args:
        local (Tensor): The judgements, (n, K, S, S).
        matches (Matches): The poses.

    Returns:
        Tensor: The squared error weighted by what could be gained, averaged
        over each pose and then over the good ones.
    """
    error = matches.gain[..., None, None] * (local - matches.oks) ** 2
    return error.mean(dim=(1, 2, 3)).sum() / matches.good.sum().clamp(min=1)


def window_loss(windows: Tensor, matches: Matches, sigma: float) -> Tensor:
    """How far convolved windows are from Gaussians around true keypoints.

    Args:
        windows (Tensor): Those around the poses, (n, K, W, W).
        matches (Matches): The poses.
        sigma (float): Standard deviation of the Gaussians, px.

    Returns:
        Tensor: The mean squared error, weighted by what could be gained.
    """
    steps = window_steps(matches.poses, windows.shape[-1] // 2)
    distance = (matches.poses - matches.keypoints)[..., None] + steps
    gauss = (-(distance**2) / (2 * sigma**2)).exp()
    targets = gauss[:, :, 1, :, None] * gauss[:, :, 0, None]
    return (matches.gain[..., None, None] * (windows - targets) ** 2).mean()
