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

    Args:
        file (str | Network): The file, or what
            :func:`~mmpose_ext.deploy.runtimes.open_network` has returned.
        test_cfg (dict, optional): As of ``TopdownPoseEstimator``. Defaults to
            ``None``, that of the exported model.
        device (str): Where the network runs. Defaults to ``'cpu'``.
        num_threads (int, optional): CPU threads of the network. Defaults to
            ``None``, as the runtime chooses.

    Raises:
        InputError: The file cannot be used.
    """
