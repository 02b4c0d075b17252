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

    Args:
        file (str | Network): The file, or what
            :func:`~mmpose_ext.deploy.runtimes.open_network` has returned.
        test_cfg (dict, optional): As of ``BottomupPoseEstimator``. Defaults
            to ``None``, that of the exported model.
        device (str): Where the networks run. Defaults to ``'cpu'``.
        num_threads (int, optional): CPU threads of the networks. Defaults to
            ``None``, as the runtime chooses.

    Raises:
        InputError: A file cannot be used.
    """
