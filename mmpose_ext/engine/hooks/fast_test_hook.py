from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmpose.models.pose_estimators.base import BasePoseEstimator

from ..fast_test import speed_up


class FastTestHook(Hook):
    """Test with :func:`~..fast_test.speed_up` once the weights are loaded.

    A model inside a distributed wrapper or test-time augmentation is made
    fast there. Models that are not of MMPose stay as they are.
    """

    def before_test(self, runner) -> None:
        """Replace the runner's pose estimator."""
        owner, name = runner, 'model'
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            owner, name, model = model, 'module', model.module
        if isinstance(model, BasePoseEstimator):
            setattr(owner, name, speed_up(model))
