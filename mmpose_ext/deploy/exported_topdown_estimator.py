"""MMPose's top-down estimator with a network from a file."""

from mmpose.registry import MODELS

from ..models.pose_estimators import FusedFlipTopdownPoseEstimator
from .exported_estimator import ExportedEstimator


@MODELS.register_module()
class ExportedTopdownEstimator(
    ExportedEstimator, FusedFlipTopdownPoseEstimator
):
    """A top-down model from an exported file.

    Pre-processing and decoding are MMPose's, as of the model that was
    exported; a flip test takes one pass. What the model learned is in the
    file, there are no weights to be loaded.

    See :class:`ExportedEstimator` for its arguments.
    """
