"""Networks as files of other runtimes: ONNX and OpenVINO."""

from .pose_model import PoseModel

__all__ = ['PoseModel']
