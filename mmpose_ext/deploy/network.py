"""The part of a pose estimator that is exported: images to maps."""

from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Tuple

from mmpose.models import BottomupPoseEstimator, TopdownPoseEstimator
from mmpose.models.pose_estimators.base import BasePoseEstimator
from torch import Tensor, nn

from ..errors import InputError

# All that bottom-up networks we know halve their input to.
SIZE_FACTOR = 32


class PoseNetwork(nn.Module):
    """The network of a pose estimator, from images to maps.

    It is the backbone, the neck, and the head's ``forward``. Of a head that
    returns a list of equal maps, one per stage, only the last is kept, because
    the ``predict`` of such heads uses no other.

    Args:
        model (BasePoseEstimator): A top-down or bottom-up estimator.

    Raises:
        InputError: It is of another kind.
    """

    def __init__(self, model: BasePoseEstimator):
        super().__init__()
        if not isinstance(
            model, (TopdownPoseEstimator, BottomupPoseEstimator)
        ):
            raise InputError(
                'only networks of a TopdownPoseEstimator or a '
                f'BottomupPoseEstimator can be exported, got one of a '
                f'{type(model).__name__}'
            )
        self.model = model

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """Run the network.

        Args:
            images (Tensor): Normalised images of shape (B, 3, H, W).

        Returns:
            tuple[Tensor, ...]: The maps.

        Raises:
            InputError: The head's ``forward`` returns no tensors.
        """
        return flatten(self.outputs(images))

    def outputs(self, images: Tensor) -> Any:
        """Like :meth:`forward`, in the head's container."""
        outputs = self.model.head.forward(self.model.extract_feat(images))
        if isinstance(outputs, list):
            # Stages have equal maps; batch and size are open in an export.
            kinds = {(x.ndim, x.shape[1]) for x in flatten(outputs)}
            return outputs[-1:] if len(kinds) == 1 else outputs
        return outputs

    def parts(self) -> Dict[str, nn.Module]:
        """Modules that the head's ``predict`` calls after the network.

        They are those that the head names in ``exported_parts``.
        """
        head = self.model.head
        names = getattr(head, 'exported_parts', ())
        return {name: getattr(head, name) for name in names}


def kind_of(model: BasePoseEstimator) -> str:
    """``'topdown'`` or ``'bottomup'``.

    Args:
        model (BasePoseEstimator): An estimator of one of these kinds.
    """
    is_bottomup = isinstance(model, BottomupPoseEstimator)
    return 'bottomup' if is_bottomup else 'topdown'


def check_size(images: Tensor, what: str) -> None:
    """Check that a bottom-up network can halve the images often enough.

    Args:
        images (Tensor): Of shape (..., H, W).
        what (str): What the images are, to begin the message.

    Raises:
        InputError: H or W is no multiple of :data:`SIZE_FACTOR`.
    """
    height, width = images.shape[-2:]
    if height % SIZE_FACTOR or width % SIZE_FACTOR:
        raise InputError(
            f'{what} have (w, h) = ({width}, {height}), expected multiples of '
            f'{SIZE_FACTOR}, for which bottom-up networks are exported'
        )


def flatten(outputs: Any) -> Tuple[Tensor, ...]:
    """The tensors that a head's ``forward`` returns.

    Args:
        outputs (Any): A tensor, or a list or tuple of tensors.

    Raises:
        InputError: It returns anything else.
    """
    tensors = (outputs,) if isinstance(outputs, Tensor) else outputs
    if isinstance(tensors, (list, tuple)) and all(
        isinstance(tensor, Tensor) for tensor in tensors
    ):
        return tuple(tensors)
    raise InputError(
        'only heads whose forward returns tensors can be exported, got '
        f'{_describe(outputs)}'
    )


def unflatten(tensors: List[Tensor], structure: str) -> Any:
    """The inverse of :func:`flatten`.

    Args:
        tensors (list[Tensor]): The tensors.
        structure (str): ``'Tensor'``, ``'list'`` or ``'tuple'``.
    """
    if structure == 'Tensor':
        return tensors[0]
    return list(tensors) if structure == 'list' else tuple(tensors)


def structure_of(outputs: Any) -> str:
    """The argument ``structure`` of :func:`unflatten`."""
    return 'Tensor' if isinstance(outputs, Tensor) else type(outputs).__name__


@contextmanager
def record_inputs(
    model: BasePoseEstimator,
) -> Iterator[Tuple[List[Tensor], Dict[str, List[Tensor]]]]:
    """Record the inputs of a network and its parts.

    Args:
        model (BasePoseEstimator): The estimator.

    Yields:
        tuple[list[Tensor], dict[str, list[Tensor]]]: The images, and by name
        what each of :meth:`PoseNetwork.parts` got; they grow as it predicts.

    Raises:
        InputError: The images of a bottom-up model have a size for which it
            cannot be exported.
    """
    parts = {'': model.backbone, **PoseNetwork(model).parts()}
    lists: Dict[str, List[Tensor]] = {name: [] for name in parts}

    def keep(name: str) -> Callable:
        return lambda _, args: lists[name].append(args[0].detach().clone())

    def check(_: nn.Module, args: Tuple[Tensor]) -> None:
        check_size(args[0], "images of the config's test pipeline")

    handles = [
        part.register_forward_pre_hook(keep(name))
        for name, part in parts.items()
    ]
    if isinstance(model, BottomupPoseEstimator):
        handles.append(model.backbone.register_forward_pre_hook(check))
    try:
        yield lists[''], {n: x for n, x in lists.items() if n}
    finally:
        for handle in handles:
            handle.remove()


def _describe(outputs: Any) -> str:
    if isinstance(outputs, (list, tuple)):
        kinds = ', '.join(type(output).__name__ for output in outputs)
        return f'{type(outputs).__name__} of {kinds}'
    return type(outputs).__name__
