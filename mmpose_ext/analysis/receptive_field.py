"""The empirical receptive field of a model's heatmaps."""

from dataclasses import dataclass
from typing import Callable, Iterable, Optional, Tuple

import torch
from mmpose.models import TopdownPoseEstimator
from torch import Tensor, nn

from ..errors import InputError

_BATCH = 32  # windows in one forward


@dataclass(frozen=True)
class ReceptiveField:
    """How much each keypoint's heatmap depends on each part of the input.

    Args:
        differences (Tensor): For each keypoint and pixel of the input, how
            much the nearest window changed the heatmap, (K, h, w).
    """

    differences: Tensor

    def relative(self) -> Tensor:
        """Differences over the keypoint's largest one, 0 where that is 0."""
        largest = self.differences.amax(dim=(1, 2), keepdim=True)
        return self.differences / largest.where(largest > 0, 1.0)

    def area(self, threshold: float = 0.1) -> Tensor:
        """The size of the receptive field.

        Args:
            threshold (float): A pixel belongs to the field if the difference
                there is more than this part of the keypoint's largest one;
                from 0 to below 1. Defaults to 0.1.

        Returns:
            Tensor: Percent of the input for each keypoint, (K,).

        Raises:
            InputError: If the threshold is out of its range.
        """
        check_threshold(threshold)
        return 100 * (self.relative() > threshold).double().mean(dim=(1, 2))


@torch.no_grad()
def receptive_field(
    heatmaps_of: Callable[[Tensor], Tensor],
    image: Tensor,
    window: int = 11,
    stride: int = 4,
    seed: int = 0,
    track: Callable[[Iterable], Iterable] = iter,
) -> ReceptiveField:
    """Measure which parts of an image the heatmaps depend on.

    `Global Context for Convolutional Pose Machines
    <https://arxiv.org/abs/1906.04104>`_, section 3.3: a small window is
    filled with random values, of 8 bits before the normalization, at one
    place after the other; where this changes a heatmap, the heatmap depends
    on the image. The paper does not say how two heatmaps are compared. Here
    it is the sum over all cells of the absolute difference.

    Windows start at every ``stride`` pixels from the upper left corner, and
    the last ones end at the right and lower edge.

    Args:
        heatmaps_of (Callable): The model: images (N, C, h, w) with values
            from 0 to 255 to heatmaps (N, K, H, W), each image independently
            (see :func:`heatmap_function`).
        image (Tensor): The clean image of shape (C, h, w), 0 to 255.
        window (int): Side of the window, px. Defaults to 11.
        stride (int): From one window to the next, px; not more than
            ``window``, or there would be gaps. Defaults to 4.
        seed (int): Seed of the random values. Defaults to 0.
        track (Callable): Goes over the batches, such as a progress bar's
            ``track``. Defaults to ``iter``.

    Returns:
        ReceptiveField: On the CPU, in double precision.

    Raises:
        InputError: If the windows do not fit into the image, or leave gaps.
    """
    height, width = image.shape[1:]
    check_windows(window, stride, (width, height))
    tops, lefts = (_starts(n, window, stride) for n in (height, width))
    corners = torch.cartesian_prod(tops, lefts)
    patches = torch.randint(
        256,
        (len(corners), window, window, len(image)),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(seed),
    )

    image = image.float()[None]
    found = []
    for start in track(range(0, len(corners), _BATCH)):
        part = slice(start, start + _BATCH)
        images = _cover(image, corners[part], patches[part].to(image))
        # Rounding may depend on the size of the batch: the clean image is in
        # each of them.
        maps = heatmaps_of(torch.cat([image, images])).double()
        found.append((maps[1:] - maps[:1]).abs().sum(dim=(2, 3)).cpu())
    differences = torch.cat(found).T.reshape(-1, len(tops), len(lefts))
    rows, columns = (
        _nearest(tops, window, height),
        _nearest(lefts, window, width),
    )
    return ReceptiveField(differences[:, rows[:, None], columns])


def check_windows(
    window: int, stride: int, input_size: Tuple[int, int]
) -> None:
    """Check that windows fit into an input [w, h], px, and cover it.

    Raises:
        InputError: They do not.
    """
    if not 1 <= window <= min(input_size):
        raise InputError(
            f'expected a window of 1 to {min(input_size)} px for an input of '
            f'{input_size[0]}x{input_size[1]}, got {window}'
        )
    if not 1 <= stride <= window:
        raise InputError(
            f'expected a stride of 1 to {window} px, the side of the window, '
            f'for an input without gaps, got {stride}'
        )


def check_threshold(threshold: float) -> None:
    """Check the part of the largest difference above which a field lies.

    Raises:
        InputError: It is not from 0 to below 1.
    """
    if not 0 <= threshold < 1:
        raise InputError(
            f'expected a threshold from 0 to below 1, got {threshold}'
        )


def heatmap_function(
    model: nn.Module, num_keypoints: Optional[int] = None
) -> Callable[[Tensor], Tensor]:
    """A top-down model as a function from raw images to heatmaps.

    Args:
        model (nn.Module): A ``TopdownPoseEstimator`` whose head's ``forward``
            returns heatmaps, or a list of them, of which the last counts
            (stages, as those of ``CPMHead``, ``MSPNHead`` and ``GCCPMHead``).
        num_keypoints (int, optional): Number K of keypoints. Maps behind
            them, such as that of the background, are left out; of a UDP
            head's 3 K maps only the K heatmaps are taken. Defaults to
            ``None``, all maps.

    Returns:
        Callable: Images (N, 3, h, w) as the test pipeline returns them, with
        values from 0 to 255, to heatmaps (N, K, H, W).

    Raises:
        InputError: If the model is not top-down; from the function, if the
            head returns no heatmaps.
    """
    if not isinstance(model, TopdownPoseEstimator):
        raise InputError(
            f'expected a TopdownPoseEstimator, got a {type(model).__name__}'
        )
    decoder = getattr(model.head, 'decoder', None)
    combined = getattr(decoder, 'heatmap_type', '') == 'combined'

    def heatmaps_of(images: Tensor) -> Tensor:
        data = dict(inputs=list(images), data_samples=[])
        inputs = model.data_preprocessor(data)['inputs']
        maps = model(inputs, None, mode='tensor')
        while isinstance(maps, list) and maps:
            maps = maps[-1]
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            shape = getattr(maps, 'shape', type(maps).__name__)
            raise InputError(
                f'{type(model.head).__name__} returns no heatmaps: expected '
                f'(N, K, H, W), got {shape}'
            )
        return maps[:, ::3] if combined else maps[:, :num_keypoints]

    return heatmaps_of


def _starts(length: int, window: int, stride: int) -> Tensor:
    """First pixels of the windows along a side."""
    last = length - window
    return torch.tensor([*range(0, last, stride), last])


def _cover(image: Tensor, corners: Tensor, patches: Tensor) -> Tensor:
    """Copies of an image (1, C, h, w), each with its patch (N, s, s, C)."""
    n, side = patches.shape[:2]
    images = image.repeat(n, 1, 1, 1)
    for covered, (top, left), patch in zip(images, corners, patches):
        part = covered[:, top : top + side, left : left + side]
        part.copy_(patch.permute(2, 0, 1))
    return images


def _nearest(starts: Tensor, window: int, length: int) -> Tensor:
    """For each pixel of a side, the index of the nearest window."""
    edges = (starts[1:] + starts[:-1] + window - 1) / 2
    return torch.bucketize(torch.arange(length), edges)
