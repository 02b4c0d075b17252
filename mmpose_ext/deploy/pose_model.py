"""Poses of images, by an exported file."""

from pathlib import Path
from typing import Optional, Union

import numpy as np
from mmengine.structures import InstanceData

from .estimators import load_exported


class PoseModel:
    """A model that ``tools/deploy/export.py`` has made.

    Pre-processing and decoding are those of the PyTorch model; neither its
    config nor its checkpoint is needed::

        model = PoseModel('ram-gpr.xml', num_threads=2)
        poses = model(cv2.imread('image.jpg'), boxes)
        poses.keypoints, poses.keypoint_scores

    Threads can share it once it is loaded; each call gives what it would give
    alone. Nothing that is written in a file runs, see ``docs/security.md``.

    Args:
        path (str | Path): The ``.onnx`` or ``.xml`` file.
        device (str): Where it runs, see
            :func:`~mmpose_ext.deploy.runtimes.open_network`. Defaults to
            ``'cpu'``.
        num_threads (int, optional): CPU threads. Defaults to ``None``, as the
            runtime chooses.

    Attributes:
        model (BasePoseEstimator): An estimator of MMPose's, for what takes
            one, such as ``mmpose.apis.inference_topdown``.

    Raises:
        InputError: The file is missing, broken or of another kind, or its
            runtime is not installed.
    """

    def __init__(
        self,
        path: Union[str, Path],
        device: str = 'cpu',
        num_threads: Optional[int] = None,
    ):
        self.model = load_exported(path, device, num_threads)

    @property
    def dataset_meta(self) -> dict:
        """Names, colours, sigmas and links of the keypoints."""
        return self.model.dataset_meta

    def __call__(
        self,
        image: np.ndarray,
        boxes: Optional[np.ndarray] = None,
        batch_size: int = 32,
        score_thr: float = 0.0,
    ) -> InstanceData:
        """Estimate the poses of an image.

        Args:
            image (np.ndarray): BGR image of shape (H, W, 3).
            boxes (np.ndarray, optional): For a top-down model, the persons,
                of shape (N, 5): x1, y1, x2, y2 in pixels and a score.
                Defaults to ``None``, the whole image as one person.
            batch_size (int): Persons per step of a top-down model. Defaults
                to 32.
            score_thr (float): Persons of a lower score are left out.
                Defaults to 0.0.

        Returns:
            InstanceData: As of
            :func:`~mmpose_ext.inference.poses.estimate_poses`.

        Raises:
            ValueError: If a bottom-up model is given boxes.
        """
        # MMPose's apis import MMDetection too.
        from ..inference.poses import estimate_poses

        return estimate_poses(self.model, image, boxes, batch_size, score_thr)
