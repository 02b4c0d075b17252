"""MMPose's bottom-up estimator with a network from a file."""

from mmpose.registry import MODELS

from ..models.pose_estimators import FusedFlipBottomupPoseEstimator
from .exported_estimator import ExportedEstimator


@MODELS.register_module()
class ExportedBottomupEstimator(
    ExportedEstimator, FusedFlipBottomupPoseEstimator
):
    """A bottom-up model from an exported file.

    As :class:`ExportedTopdownEstimator`. What the head does between several
    layers, as LOGO-CAP's search around each keypoint, happens here, with the
    layers of further files that lie beside this one.

    See :class:`ExportedEstimator` for its arguments.
    """
