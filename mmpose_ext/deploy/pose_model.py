"""Exported files in the place of a model and its config."""

from pathlib import Path
from typing import Optional, Union

import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmpose.registry import MODELS

from ..errors import InputError
from .exported_bottomup_estimator import ExportedBottomupEstimator
from .exported_estimator import naming_file
from .exported_topdown_estimator import ExportedTopdownEstimator
from .runtimes import Network, open_network

_ESTIMATORS = dict(
    topdown=ExportedTopdownEstimator, bottomup=ExportedBottomupEstimator
)


class PoseModel:
    """A model that ``tools/deploy/export.py`` has made.

    Pre-processing and decoding are those of the PyTorch model; neither its
    config nor its checkpoint is needed::

        model = PoseModel('ram-gpr.xml', num_threads=2)
        poses = model(cv2.imread('image.jpg'), boxes)
        poses.keypoints, poses.keypoint_scores

    Threads can share it once it is loaded; calls do not influence each other.
    Nothing that is written in a file runs, see ``docs/security.md``.

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
        network = open_network(path, device, num_threads)
        # The network itself, not to open the file again; its parts are opened.
        model = dict(_model_config(network), file=network)
        model.update(device=device, num_threads=num_threads)
        with DefaultScope.overwrite_default_scope('mmpose'):
            self.model = MODELS.build(model).eval()
            self._try_out(str(path))

    def _try_out(self, path: str) -> None:
        """Check that a top-down model finds the keypoints it describes.

        A bottom-up model may find nobody, and takes longer.
        """
        what = f"what '{path}' declares does not work on an image"
        if isinstance(self.model, ExportedTopdownEstimator):
            with naming_file(what):
                self(np.zeros((64, 64, 3), np.uint8))

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


def use_exported(config: Config, file: str) -> None:
    """Replace a config's model by an exported one.

    The config's ``test_cfg`` remains, and so does everything but its model.

    Args:
        config (Config): The config, changed in place.
        file (str): The exported file.

    Raises:
        InputError: The file cannot be used.
    """
    network = open_network(file)
    model = _model_config(network)
    decoder = (config.model.get('head') or {}).get('decoder') or {}
    size = decoder.get('input_size')
    expected = network.shape[:1:-1]
    if size and None not in expected and list(size) != expected:
        raise InputError(
            f"'{file}' was exported for inputs of (w, h) {tuple(expected)}, "
            f'the config makes {tuple(size)}'
        )
    if config.model.get('test_cfg') is not None:
        model.update(test_cfg=config.model.test_cfg)
    # An assignment alone would merge the keys of both dicts.
    config.pop('model')
    config.model = model
    config.load_from = None


def _model_config(network: Network) -> dict:
    """The ``model`` of a config that uses an exported file."""
    estimator = _ESTIMATORS[network.metadata['kind']]
    return dict(type=estimator.__name__, file=network.path)
