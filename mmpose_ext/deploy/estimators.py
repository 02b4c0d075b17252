"""Pose estimators of MMPose's whose network is an exported file."""

import math
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple, Union

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.models import BottomupPoseEstimator
from mmpose.models.pose_estimators.base import BasePoseEstimator
from mmpose.registry import MODELS
from mmpose.utils.typing import SampleList
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import InputError
from ..models.pose_estimators import (
    FusedFlipBottomupPoseEstimator,
    FusedFlipTopdownPoseEstimator,
)
from .consistency import check_fit
from .formats import part_path
from .network import check_size, unflatten
from .openvino_file import check_no_link
from .runtimes import Network, first_line, open_network

# What a head's layers may hold in all, which are built but not used: those of
# the largest have 1e8.
_MAX_ELEMENTS = 2**29


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


class _Exported:
    """What both kinds have in common."""

    kind: str

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
        if metadata['kind'] != self.kind:
            raise InputError(
                f"'{file}' holds a {metadata['kind']} model, expected a "
                f'{self.kind} one'
            )
        _check_fit(network, metadata)
        config = metadata['model']
        if test_cfg is not None:
            config['test_cfg'] = test_cfg
        backbone = dict(
            type=_ExportedModule,
            network=network,
            bottomup=self.kind == 'bottomup',
        )
        with _building(file):
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
        """Predict, and see that the file's outputs fit its description.

        Args:
            inputs (Tensor | list[Tensor]): As of MMPose's estimator.
            data_samples (list[PoseDataSample]): The samples.

        Returns:
            list[PoseDataSample]: As of MMPose's estimator.

        Raises:
            InputError: They do not fit.
        """
        try:
            return super().predict(inputs, data_samples)
        except InputError:
            raise
        except Exception as e:
            raise InputError(
                f"the outputs of '{self.backbone.network.path}' do not fit "
                f'what it declares: {type(e).__name__}: {first_line(e)}'
            ) from e

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


def _check_fit(network: Network, metadata: dict) -> None:
    try:
        check_fit(metadata, network.shape, network.output_shapes)
    except ValueError as e:
        raise InputError(
            f"exported file '{network.path}' is refused: {e}"
        ) from e


class _ElementLimit(TorchDispatchMode):
    """Lets no more than a number of elements of tensors be allocated."""

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
                raise ValueError('its layers are larger than any that we know')
        return func(*args, **(kwargs or {}))


@contextmanager
def _building(file: str) -> Iterator[None]:
    """Build what an exported file declares, whatever the scope is.

    Raises:
        InputError: It cannot be built.
    """
    try:
        with (
            DefaultScope.overwrite_default_scope('mmpose'),
            _ElementLimit(_MAX_ELEMENTS),
        ):
            yield
    except Exception as e:
        raise InputError(
            f"the model that '{file}' declares cannot be built: "
            f'{type(e).__name__}: {first_line(e)}'
        ) from e


@MODELS.register_module()
class ExportedTopdownEstimator(_Exported, FusedFlipTopdownPoseEstimator):
    """A top-down model from an exported file.

    Pre-processing and decoding are MMPose's, as of the model that was
    exported; a flip test takes one pass. What the model learned is in the
    file, there are no weights to be loaded.

    Args:
        file (str | Network): The file, or what
            :func:`~mmpose_ext.deploy.runtimes.open_network` has made of it.
        test_cfg (dict, optional): As of ``TopdownPoseEstimator``. Defaults to
            ``None``, that of the exported model.
        device (str): Where the network runs. Defaults to ``'cpu'``.
        num_threads (int, optional): CPU threads of the network. Defaults to
            ``None``, as the runtime chooses.

    Raises:
        InputError: The file cannot be used.
    """

    kind = 'topdown'


@MODELS.register_module()
class ExportedBottomupEstimator(_Exported, FusedFlipBottomupPoseEstimator):
    """A bottom-up model from an exported file.

    As :class:`ExportedTopdownEstimator`. What the head does between several
    layers, as LOGO-CAP's search around each keypoint, happens here, with the
    layers of further files that lie beside this one.

    Args:
        file (str | Network): The file, or what
            :func:`~mmpose_ext.deploy.runtimes.open_network` has made of it.
        test_cfg (dict, optional): As of ``BottomupPoseEstimator``. Defaults
            to ``None``, that of the exported model.
        device (str): Where the networks run. Defaults to ``'cpu'``.
        num_threads (int, optional): CPU threads of the networks. Defaults to
            ``None``, as the runtime chooses.

    Raises:
        InputError: A file cannot be used.
    """

    kind = 'bottomup'


def kind_of(model: BasePoseEstimator) -> str:
    """``'topdown'`` or ``'bottomup'``.

    Args:
        model (BasePoseEstimator): An estimator of one of these kinds.
    """
    is_bottomup = isinstance(model, BottomupPoseEstimator)
    return 'bottomup' if is_bottomup else 'topdown'


def model_config(network: Network) -> dict:
    """The ``model`` of a config that uses an exported file.

    Args:
        network (Network): The opened file.

    Raises:
        InputError: The file was exported by something else.
    """
    kind = network.metadata['kind']
    classes: List[type] = [ExportedTopdownEstimator, ExportedBottomupEstimator]
    (found,) = (c.__name__ for c in classes if c.kind == kind)
    return dict(type=found, file=network.path)


def use_exported(config: Config, file: str) -> None:
    """Let a config's model be an exported one.

    The config's ``test_cfg`` remains, and so does what is not its model.

    Args:
        config (Config): The config, changed in place.
        file (str): The exported file.

    Raises:
        InputError: The file cannot be used.
    """
    network = open_network(file)
    model = model_config(network)
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
    # Not what the old model had: keys of a dict would be merged.
    config.pop('model')
    config.model = model
    config.load_from = None


def load_exported(
    file: Union[str, Path],
    device: str = 'cpu',
    num_threads: Optional[int] = None,
) -> BasePoseEstimator:
    """Load an exported file as an estimator of MMPose's.

    Args:
        file (str | Path): The file.
        device (str): Where it runs, see
            :func:`~mmpose_ext.deploy.runtimes.open_network`. Defaults to
            ``'cpu'``.
        num_threads (int, optional): CPU threads. Defaults to ``None``, as
            the runtime chooses.

    Raises:
        InputError: The file cannot be used.
    """
    network = open_network(file, device, num_threads)
    # The network itself, not to open the file again; its parts are opened.
    model = dict(model_config(network), file=network)
    model.update(device=device, num_threads=num_threads)
    with DefaultScope.overwrite_default_scope('mmpose'):
        built = MODELS.build(model).eval()
        if built.kind == 'topdown':
            _try_out(built, network)
    return built


def _try_out(model: BasePoseEstimator, network: Network) -> None:
    """See that a top-down model finds the keypoints of its description.

    A bottom-up model may find nobody, and takes longer.
    """
    # MMPose's apis import MMDetection too.
    from ..inference.poses import estimate_poses

    try:
        estimate_poses(model, np.zeros((64, 64, 3), np.uint8))
    except InputError:
        raise
    except Exception as e:
        raise InputError(
            f"what '{network.path}' declares does not work on an image: "
            f'{type(e).__name__}: {first_line(e)}'
        ) from e
