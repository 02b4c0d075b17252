"""Random boxes as the training of HRNet draws them."""

from typing import Tuple

import numpy as np
from mmpose.datasets.transforms import RandomBBoxTransform
from mmpose.registry import TRANSFORMS

from ...arguments import each, fraction, non_negative, positive


@TRANSFORMS.register_module()
class ClippedBBoxTransform(RandomBBoxTransform):
    """Scale and rotate the boxes of persons as HRNet's training does.

    MMPose's ``RandomBBoxTransform`` draws from normal distributions that are
    truncated at one standard deviation. The official training of `Deep
    High-Resolution Representation Learning for Human Pose Estimation
    <https://arxiv.org/abs/1902.09212>`_ (HRNet) draws from whole ones and
    clips what is drawn: the factor of scale is the smallest or the largest
    one in 32 % of the draws, and angles go to twice the 45 degrees of the
    paper. Angles have a standard deviation of 43 degrees, where
    ``RandomBBoxTransform(rotate_factor=45)`` has 24.

    Required Keys:

        - bbox_center (N, 2)
        - bbox_scale (N, 2)

    Modified Keys:

        - bbox_center
        - bbox_scale

    Added Keys:

        - bbox_rotation (N,), degrees

    Args:
        shift_factor (float): Standard deviation, and largest size, of the
            shift along either axis, as a fraction of the box's size there.
            Defaults to 0.16, as in ``RandomBBoxTransform``.
        shift_prob (float): Probability of a shift. Defaults to 0.0: HRNet's
            training has none.
        scale_factor (tuple[float, float]): Smallest and largest factor of
            the box's size; the mean is in the middle of them, and both are
            one standard deviation from it. Defaults to ``(0.65, 1.35)``.
        scale_prob (float): Probability that the size changes. Defaults to
            1.0.
        rotate_factor (float): Standard deviation of the angle in degrees;
            the largest angle is twice as large. Defaults to 45.0.
        rotate_prob (float): Probability of a rotation. Defaults to 0.6.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        shift_factor: float = 0.16,
        shift_prob: float = 0.0,
        scale_factor: Tuple[float, float] = (0.65, 1.35),
        scale_prob: float = 1.0,
        rotate_factor: float = 45.0,
        rotate_prob: float = 0.6,
    ):
        low, high = each(positive, 'scale_factor', scale_factor, length=2)
        if low > high:
            raise ValueError(
                'scale_factor must be the smallest and the largest factor, '
                f'got {scale_factor}'
            )
        super().__init__(
            shift_factor=non_negative('shift_factor', shift_factor),
            shift_prob=fraction('shift_prob', shift_prob),
            scale_factor=(low, high),
            scale_prob=fraction('scale_prob', scale_prob),
            rotate_factor=non_negative('rotate_factor', rotate_factor),
            rotate_prob=fraction('rotate_prob', rotate_prob),
        )

    @staticmethod
    def _truncnorm(*, size: Tuple[int, int]) -> np.ndarray:
        """Draw x, y, scale and angle (N, 4) in standard deviations."""
        # The base class truncates all four at one.
        limits = np.array([1, 1, 1, 2])
        drawn = np.random.randn(*size)
        return np.clip(drawn, -limits, limits).astype(np.float32)
