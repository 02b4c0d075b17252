"""Pictures of poses."""

from typing import Tuple

import cv2
import numpy as np
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer

from ..arguments import finite
from ..errors import InputError

_LARGEST_JPEG = 65500  # of libjpeg


class PoseDrawer:
    """Draw boxes and skeletons with MMPose's visualizer.

    The width of lines scales with the picture, and a small picture is
    enlarged, by a whole factor up to four, towards a longer side of 800
    pixels: lines of one pixel hide a person of fifty.

    Args:
        dataset_meta (dict): The ``dataset_meta`` of the pose model.
        kpt_thr (float): Keypoints of a lower score are not drawn. Defaults
            to 0.3.

    Raises:
        ValueError: If ``kpt_thr`` is not a finite number.
    """

    def __init__(self, dataset_meta: dict, kpt_thr: float = 0.3):
        self.visualizer = PoseLocalVisualizer(alpha=0.8)
        self.visualizer.set_dataset_meta(dataset_meta)
        self.kpt_thr = finite('kpt_thr', kpt_thr)

    def __call__(self, image: np.ndarray, poses: InstanceData) -> np.ndarray:
        """Draw the persons of an image.

        Args:
            image (np.ndarray): BGR image of shape (H, W, 3).
            poses (InstanceData): See :func:`~.poses.estimate_poses`.

        Returns:
            np.ndarray: BGR image of shape (f H, f W, 3), f = 1, 2, 3 or 4.
        """
        image, factor = enlarge(image)
        self.visualizer.line_width, self.visualizer.radius = strokes(image)
        # Pixel centres are integers: 0 moves to (factor - 1) / 2.
        shift = (factor - 1) / 2
        scaled = InstanceData(
            keypoints=poses.keypoints * factor + shift,
            keypoints_visible=poses.keypoint_scores,
            bboxes=poses.bboxes * factor + shift,
        )
        drawn = self.visualizer.add_datasample(
            'poses',
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB),
            PoseDataSample(pred_instances=scaled),
            draw_gt=False,
            draw_bbox=True,
            kpt_thr=self.kpt_thr,
        )
        return cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)


def enlarge(image: np.ndarray) -> Tuple[np.ndarray, int]:
    """Enlarge a small picture, as :class:`PoseDrawer` does.

    Returns:
        tuple[np.ndarray, int]: Image of shape (f H, f W, 3), and f.

    Raises:
        InputError: If it is larger than a JPEG file can be.
    """
    height, width = image.shape[:2]
    if max(height, width) > _LARGEST_JPEG:
        raise InputError(
            f'a picture of {width} x {height} px cannot be written: JPEG has '
            f'at most {_LARGEST_JPEG} px a side'
        )
    factor = min(max(round(800 / max(image.shape[:2])), 1), 4)
    if factor > 1:
        size = width * factor, height * factor
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return image, factor


def strokes(image: np.ndarray) -> Tuple[int, int]:
    """Width of lines and radius of joints in px, for a picture's size."""
    side = max(image.shape[:2])
    return max(1, round(side / 400)), max(2, round(side / 250))


def draw_label(picture: np.ndarray, text: str) -> np.ndarray:
    """Write a text into the left upper corner of a picture.

    White letters with a black rim, for any background. Capitals are a 24th
    of the picture's height, at least 12 pixels, or less where the text, one
    line of ASCII characters, would be wider than the picture.

    Returns:
        np.ndarray: A copy of the picture with the text.
    """
    height, width = picture.shape[:2]
    font = cv2.FONT_HERSHEY_SIMPLEX
    size = max(round(height / 24), 12)
    stroke = max(round(size / 8), 1)
    scale = cv2.getFontScaleFromHeight(font, size, stroke)
    margin = size // 2
    (length, _), _ = cv2.getTextSize(text, font, scale, stroke)
    scale *= min(1, (width - 2 * margin) / length)
    picture = picture.copy()
    corner = picture[: 3 * size]
    letters = np.zeros_like(corner)
    cv2.putText(
        letters,
        text,
        (margin, margin + size),
        font,
        scale,
        (255, 255, 255),
        stroke,
        cv2.LINE_AA,
    )
    # Not letters of a wider stroke, which OpenCV 5 makes no wider.
    rim = cv2.dilate(letters, np.ones((2 * stroke + 1,) * 2, np.uint8))
    corner[:] = cv2.add(cv2.subtract(corner, rim), letters)
    return picture
