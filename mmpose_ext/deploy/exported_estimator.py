"""What the estimators of exported files share."""

import math
from contextlib import contextmanager
from typing import Any, Iterator, List, Optional, Tuple, Union

import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.utils.typing import SampleList
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import InputError
from .consistency import check_fit
from .formats import part_path
from .network import check_size, kind_of, unflatten
from .runtimes import Network, check_no_link, first_line, open_network

# What a head's layers may hold in all, which are built but not used: those of
# the largest have 1e8.
_MAX_ELEMENTS = 2**29


@contextmanager
def naming_file(what: str) -> Iterator[None]:
    """Turn errors of any kind into those of the input.

    Args:
        what (str): What is wrong, with the file's name, to begin the message.

    Raises:
        InputError: Within it something else was raised.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as e:
        reason = f'{type(e).__name__}: {first_line(e)}'
        raise InputError(f'{what}: {reason}') from e


class _ExportedModule(nn.Module):
    """A network of another runtime, from a tensor to a tuple of tensors.

    Args:
        network (Network): The network.
        bottomup (bool): Whether it is that of whole images. Defaults to
            ``False``.
    """

    def __init__(self, network: Network, bottomup: bool = False):
        super().__init__()
        self.network = network
        self.bottomup = bottomup

    def forward(self, inputs: Tensor) -> Tuple[Tensor, ...]:
        """Run it, and bring its outputs to the device of the inputs."""
        if self.bottomup:
            check_size(inputs, f"images for '{self.network.path}'")
        array = inputs.detach().float().cpu().contiguous().numpy()
        return tuple(
            torch.from_numpy(output).to(inputs.device)
            for output in self.network(array)
        )


class _ExportedPart(_ExportedModule):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs)[0]


class ExportedEstimator:
    """Lets an estimator of MMPose's run an exported file.

    Args:
        file (str | Network): The file, or what
            :func:`~mmpose_ext.deploy.runtimes.open_network` has returned.
        test_cfg (dict, optional): As of the estimator. Defaults to ``None``,
            that of the exported model.
        device (str): Where the network runs. Defaults to ``'cpu'``.
        num_threads (int, optional): CPU threads of the network. Defaults to
            ``None``, as the runtime chooses.

    Raises:
        InputError: The file cannot be used.
    """

    def __init__(
        self,
        file: Union[str, Network],
        test_cfg: Optional[dict] = None,
        device: str = 'cpu',
        num_threads: Optional[int] = None,
    ):
        network = file
        if not isinstance(file, Network):
            network = open_network(file, device, num_threads)
        file = network.path
        metadata = network.metadata
        kind = kind_of(self)
        if metadata['kind'] != kind:
            raise InputError(
                f"'{file}' holds a {metadata['kind']} model, expected a "
                f'{kind} one'
            )
        try:
            check_fit(metadata, network.shape, network.output_shapes)
        except ValueError as e:
            raise InputError(f"exported file '{file}' is refused: {e}") from e
        config = metadata['model']
        if test_cfg is not None:
            config['test_cfg'] = test_cfg
        backbone = dict(
            type=_ExportedModule,
            network=network,
            bottomup=kind == 'bottomup',
        )
        with (
            naming_file(f"the model that '{file}' declares cannot be built"),
            DefaultScope.overwrite_default_scope('mmpose'),
            _ElementLimit(_MAX_ELEMENTS),
        ):
            super().__init__(backbone=backbone, **config)
            Compose(metadata['pipeline'])
        # The network has done what the head's layers would do.
        structure = metadata['structure']
        self.head.forward = lambda feats: unflatten(feats, structure)
        self._open_parts(metadata, file, device, num_threads)
        self.dataset_meta = metadata['dataset_meta']
        self.cfg = Config(
            dict(
                default_scope='mmpose',
                test_dataloader=dict(
                    dataset=dict(pipeline=metadata['pipeline'])
                ),
            )
        )

    def predict(
        self, inputs: Union[Tensor, List[Tensor]], data_samples: SampleList
    ) -> SampleList:
        """Predict, and check that the file's outputs fit its description.

        Args:
            inputs (Tensor | list[Tensor]): As of MMPose's estimator.
            data_samples (list[PoseDataSample]): The samples.

        Returns:
            list[PoseDataSample]: As of MMPose's estimator.

        Raises:
            InputError: They do not fit.
        """
        path = self.backbone.network.path
        with naming_file(
            f"the outputs of '{path}' do not fit what it declares"
        ):
            return super().predict(inputs, data_samples)

    def _open_parts(
        self,
        metadata: dict,
        file: str,
        device: str,
        num_threads: Optional[int],
    ) -> None:
        expected = getattr(self.head, 'exported_parts', ())
        if set(metadata['parts']) != set(expected):
            raise InputError(
                f"'{file}' has the parts {list(metadata['parts'])}, but a "
                f'{type(self.head).__name__} has {list(expected)}'
            )
        for name in metadata['parts']:
            path = part_path(file, name)
            check_no_link(path, file)
            part = open_network(path, device, num_threads)
            if part.metadata['weights'] != metadata['weights']:
                raise InputError(
                    f"'{path}' and '{file}' are of different checkpoints: "
                    'export them again'
                )
            setattr(self.head, name, _ExportedPart(part))


class _ElementLimit(TorchDispatchMode):
    """Limits how many elements of tensors may be allocated."""

    def __init__(self, elements: int):
        super().__init__()
        self.elements = elements

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        sizes = args[0] if args else ()
        if isinstance(sizes, (list, tuple)) and all(
            isinstance(n, int) for n in sizes
        ):
            self.elements -= math.prod(sizes)
            if self.elements < 0:
                raise ValueError('its layers exceed the size limit')
        return func(*args, **(kwargs or {}))
