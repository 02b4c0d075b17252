"""MMPose's crop of a person, with a grey border."""

from typing import Dict, Optional, Tuple

import cv2
import numpy as np
from mmpose.datasets.transforms import TopdownAffine
from mmpose.registry import TRANSFORMS
from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix

from ...arguments import each, finite, one_of, positive_int
from .warping import warp


@TRANSFORMS.register_module()
class PaddedTopdownAffine(TopdownAffine):
    """MMPose's ``TopdownAffine`` with a chosen grey outside of the image.

    MMPose's is black there. `Global Context for Convolutional Pose Machines
    <https://arxiv.org/abs/1906.04104>`_ fills with "a fixed colour" (section
    3.2.2), which is 128 in the official implementation: zero after its
    normalisation.

    Required Keys:

        - img (H, W, C), uint8, or a list of such images
        - bbox_center
        - bbox_scale
        - bbox_rotation (optional)
        - keypoints (optional)

    Modified Keys:

        - img
        - bbox_scale

    Added Keys:

        - input_size
        - input_center
        - input_scale
        - transformed_keypoints

    Args:
        input_size (tuple[int, int]): Width and height of the network input
            in pixels.
        use_udp (bool): Whether to use unbiased data processing, see
            ``TopdownAffine``. Defaults to ``False``.
        border_value (int): Value in [0, 255] of all channels outside of the
            image. Defaults to 128.

    Raises:
        ValueError: If an argument is out of its range, or results are
            not of one person.
    """

    def __init__(
        self,
        input_size: Tuple[int, int],
        use_udp: bool = False,
        border_value: int = 128,
    ):
        super().__init__(
            tuple(each(positive_int, 'input_size', input_size, length=2)),
            one_of('use_udp', use_udp, (True, False)),
        )
        if finite('border_value', border_value) > 255 or border_value < 0:
            raise ValueError(
                f'border_value must be in [0, 255], got {border_value}'
            )
        self.border_value = border_value

    def transform(self, results: Dict) -> Optional[dict]:
        """Crop the person; see the class."""
        # Not by the base class, which keeps the matrix to itself.
        size = tuple(self.input_size)
        if len(results['bbox_center']) != 1:
            raise ValueError(
                f'expected one person, got {len(results["bbox_center"])}'
            )
        (center,) = results['bbox_center']
        (scale,) = results['bbox_scale'] = self._fix_aspect_ratio(
            results['bbox_scale'], size[0] / size[1]
        )
        rotation = results.get('bbox_rotation', (0.0,))[0]
        get_matrix = get_udp_warp_matrix if self.use_udp else get_warp_matrix
        matrix = get_matrix(center, scale, rotation, output_size=size)

        img = results['img']
        crops = [
            warp(one, matrix, size, self.border_value)
            for one in (img if isinstance(img, list) else [img])
        ]
        results['img'] = crops if isinstance(img, list) else crops[0]

        keypoints = results.get('keypoints')
        if keypoints is None:
            moved = np.zeros([])
            results['keypoints_visible'] = np.ones((1, 1, 1))
        else:
            moved = results.get('transformed_keypoints')
            moved = (keypoints if moved is None else moved).copy()
            moved[..., :2] = cv2.transform(keypoints[..., :2], matrix)
        results.update(
            transformed_keypoints=moved,
            input_size=size,
            input_center=center,
            input_scale=scale,
        )
        return results

    @staticmethod
    def _fix_aspect_ratio(
        bbox_scale: np.ndarray, aspect_ratio: float
    ) -> np.ndarray:
        """What the base class's returns, in half the time."""
        w, h = bbox_scale.T
        wider = (w, w / aspect_ratio)
        return np.where(w > h * aspect_ratio, wider, (h * aspect_ratio, h)).T

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, border_value={self.border_value})'
