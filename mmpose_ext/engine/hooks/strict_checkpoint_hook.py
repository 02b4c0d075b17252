from typing import Mapping

from mmengine.hooks import Hook

from ...checks import check_state_dict
from ...compat.checkpoint_file import find_weights
from ...errors import InputError

_NEEDED_TO_RESUME = ('meta', 'message_hub', 'optimizer')


class StrictCheckpointHook(Hook):
    """Raise if a runner's checkpoint does not fit the model.

    MMEngine loads what fits and only warns of the rest.

    Args:
        path (str): The checkpoint, for the message.
        resume (bool): Whether the run resumes from the checkpoint, for
            which it needs more than the weights. Default: False.
    """

    # Before hooks such as EMAHook, which load from the checkpoint themselves.
    priority = 'HIGHEST'

    def __init__(self, path: str, resume: bool = False) -> None:
        self.path = path
        self.resume = resume

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Check the checkpoint before the runner uses it.

        Raises:
            InputError: It does not fit the model, or the run cannot go on
                from it.
        """
        state_dict = find_weights(checkpoint, self.path)
        if self.resume:
            _check_training_state(checkpoint, self.path)
        check_state_dict(runner.model, state_dict, self.path)


def _check_training_state(checkpoint: Mapping, path: str) -> None:
    missing = [k for k in _NEEDED_TO_RESUME if k not in checkpoint]
    if missing:
        raise InputError(
            f"checkpoint '{path}' cannot be resumed from, it lacks "
            f'{", ".join(missing)}; to start from its weights, give '
            f'--cfg-options load_from={path}'
        )
    meta = checkpoint['meta']
    for key, value, kind in (
        ('message_hub', checkpoint['message_hub'], dict),
        ('optimizer', checkpoint['optimizer'], dict),
        ('meta.epoch', meta.get('epoch'), int),
        ('meta.iter', meta.get('iter'), int),
    ):
        if not isinstance(value, kind):
            raise InputError(
                f"checkpoint '{path}' cannot be resumed from: expected "
                f"{kind.__name__} for '{key}', got {type(value).__name__}"
            )
