"""Networks and modules to be counted or timed, from what a user names."""

import copy
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Optional, Sequence, Tuple

import torch
from mmengine.config import Config
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from ..checks import check_type_names, explain_unknown_types
from ..engine.config import load_config
from ..errors import InputError, did_you_mean
from .literals import parse_dict

# The transforms that make all images of one size, (w, h) in the config.
_RESIZING = (
    'TopdownAffine',
    'BottomupResize',
    'BottomupShortSideResize',
    'Resize',
    'mmdet.Resize',
)


@dataclass
class Call:
    """A module in evaluation mode, and the arguments of its forward.

    Args:
        name (str): What the user called it.
        module (Callable): The module; where it is a step that is timed, any
            other function.
        args (tuple): Positional arguments.
        kwargs (dict): Keyword arguments.
        images (int): How many images it works on, for the frames per second.
            Defaults to 0, it does not work on images.
        grad (bool): Whether it needs gradients. Defaults to ``False``.
    """

    name: str
    module: Callable[..., Any]
    args: tuple = ()
    kwargs: dict = field(default_factory=dict)
    images: int = 0
    grad: bool = False

    def __call__(self) -> Any:
        # HRNet's modules put their results into the list that they get.
        return self.module(*_copy_lists(self.args), **self.kwargs)

    def check(self, what: str) -> None:
        """Call it, and explain where that fails; any config may be named.

        Args:
            what (str): What it does, for the message: ``run``.

        Raises:
            InputError: It fails.
        """
        try:
            with torch.inference_mode(not self.grad):
                self()
        except Exception as e:
            raise InputError(
                f'{self.name}: cannot {what}: {type(e).__name__}: {e}'
            ) from e


def check_network(
    cfg: Config, name: str, shape: Optional[Tuple[int, int]] = None
) -> Tuple[int, int]:
    """Check that a config's network can be built, and find its input size.

    Args:
        cfg (Config): The config.
        name (str): What the user called it.
        shape (tuple[int, int], optional): Height and width that the user
            wants. Defaults to what the test pipeline makes, or where it does
            not tell, the codec. (The codec comes last: another codec in a
            config that inherits its pipelines does not reach them.)

    Returns:
        tuple[int, int]: Height and width of the images, in pixels.

    Raises:
        InputError: The config has no model or no input size, or a type name
            in it is unknown.
    """
    if 'model' not in cfg:
        raise InputError(f"{name}: expected a config with a 'model'")
    check_type_names(cfg, ['model'])
    if shape is not None:
        if min(shape) < 1:
            raise InputError(f'expected a shape of H and W > 0, got {shape}')
        return tuple(shape)
    sizes = [
        step.get('input_size') or step.get('scale')
        for step in _test_transforms(cfg)
        if step.get('type') in _RESIZING
    ]
    codec = cfg.get('codec')
    if isinstance(codec, dict):
        sizes.append(codec.get('input_size'))
    for size in sizes:
        if isinstance(size, (tuple, list)) and len(size) == 2:
            preprocessor = cfg.model.get('data_preprocessor') or {}
            step = preprocessor.get('pad_size_divisor', 1)
            return tuple(-(-n // step) * step for n in reversed(size))
    raise InputError(f'{name} does not tell an input size: give --shape H W')


def load_network(
    cfg: Config,
    name: str = '',
    shape: Optional[Tuple[int, int]] = None,
    batch: int = 1,
    device: str = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> Call:
    """Build the network of a config, with random images for its forward.

    The weights are random too: no file is read and nothing is downloaded.

    What a suppression leaves of random proposals depends on chance, so a
    two-stage detector suppresses none: of each image, as many as the
    ``max_per_img`` of its ``test_cfg.rpn`` says (1000 in MMDetection's
    configs; fewer only where the input has fewer anchors) reach the head of
    boxes. The heads of masks and of keypoints get the first 100 of all RoIs,
    which is what MMDetection's raw forward gives to masks.

    Args:
        cfg (Config): Config of an MMPose or MMDetection model.
        name (str): What to call it. Defaults to the config's file name.
        shape (tuple[int, int], optional): Height and width of the images in
            pixels. Defaults to that of the config's test pipeline.
        batch (int): Number of images. Defaults to 1.
        device (str): Where it is built. Defaults to ``'cpu'``.
        dtype (torch.dtype): Of weights and images. Defaults to float32.

    Returns:
        Call: The whole network, up to the head's raw output.

    Raises:
        InputError: The config has no model or no input size, or a type name
            in it is unknown.
    """
    name = name or str(cfg.filename)
    shape = check_network(cfg, name, shape)
    scope = cfg.get('default_scope') or 'mmpose'
    # Not initialised (init_weights), which would fetch pre-trained weights.
    with (
        DefaultScope.overwrite_default_scope(scope),
        explain_unknown_types(cfg),
    ):
        model = MODELS.build(_without_suppression(cfg.model))
    model = revert_sync_batchnorm(model)
    images = torch.rand(batch, 3, *shape, device=device, dtype=dtype)
    samples = _detection_samples(shape, batch) if scope == 'mmdet' else None
    kwargs = dict(data_samples=samples, mode='tensor')
    model = model.to(device, dtype).eval()
    return Call(name, model, (images,), kwargs, images=batch)


def load_call(
    spec: str,
    shape: Optional[Tuple[int, int]] = None,
    maps: Sequence[Tuple[int, int, int]] = (),
    batch: int = 1,
    device: str = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> Call:
    """Load a network, a part of one, or a module on its own.

    Args:
        spec (str): One of

            - ``CONFIG``, as :func:`load_config` takes it: the network;
            - ``CONFIG@PATH``, e.g. ``...@backbone.stage4``: the module of
              that name, with the arguments it gets inside the network;
            - ``dict(type='GPRNeck', ...)``: a module of MMPose's registry
              by itself, with random maps.
        shape (tuple[int, int], optional): Height and width of the images in
            pixels, for the first two. Defaults to the config's.
        maps (Sequence[tuple[int, int, int]]): Channels, height and width of
            the maps for the third: one for a tensor, several for a tuple.
        batch (int): Batch size. Defaults to 1.
        device (str): Where to build it. Defaults to ``'cpu'``.
        dtype (torch.dtype): Of weights and inputs. Defaults to float32.

    Raises:
        InputError: Nothing of that name, or an argument is missing.
    """
    if spec.startswith(('dict(', '{')):
        if not maps:
            raise InputError(f'{spec}: the shapes of its maps are needed')
        args = tuple(
            torch.rand(batch, *m, device=device, dtype=dtype) for m in maps
        )
        module = _build_module(spec).to(device, dtype).eval()
        return Call(spec, module, args if len(args) == 1 else (args,))

    config, _, path = spec.partition('@')
    network = load_network(
        load_config(config), config, shape, batch, device, dtype
    )
    return _part_of(network, path) if path else network


def _test_transforms(cfg: Config) -> Iterator[dict]:
    for split in ('test', 'val'):
        dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
        while dataset:
            yield from dataset.get('pipeline', [])
            dataset = dataset.get('dataset')


def _without_suppression(model: dict) -> dict:
    """The config of a model whose RPN, if any, keeps overlapping boxes."""
    model = copy.deepcopy(model)
    rpn = (model.get('test_cfg') or {}).get('rpn')
    if rpn:
        # The second is what also keeps those without an area.
        rpn.update(nms=dict(type='nms', iou_threshold=1.0), min_bbox_size=-1)
    return model


def _detection_samples(shape: Tuple[int, int], batch: int) -> list:
    """What two-stage detectors want to know of their images."""
    from mmdet.structures import DetDataSample

    meta = dict(
        img_shape=shape,
        ori_shape=shape,
        pad_shape=shape,
        batch_input_shape=shape,
        scale_factor=(1.0, 1.0),
    )
    return [DetDataSample(metainfo=meta) for _ in range(batch)]


def _part_of(network: Call, path: str) -> Call:
    try:
        part = network.module.get_submodule(path)
    except AttributeError:
        modules = dict(network.module.named_modules())
        raise InputError(
            f"{network.name} has no module '{path}'"
            + did_you_mean(path, modules)
        ) from None
    calls = []
    handle = part.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append((_copy_lists(args), kwargs)),
        with_kwargs=True,
    )
    with torch.no_grad():
        network()
    handle.remove()
    if not calls:
        raise InputError(f"{network.name} never calls its module '{path}'")
    return Call(f'{network.name}@{path}', part, *calls[0])


def _build_module(spec: str) -> nn.Module:
    """Build ``dict(type=...)`` without running it as a program."""
    cfg = Config(dict(module=parse_dict(spec), default_scope='mmpose'))
    with (
        DefaultScope.overwrite_default_scope('mmpose'),
        explain_unknown_types(cfg),
    ):
        try:
            return MODELS.build(cfg.module)
        except TypeError as e:
            raise InputError(f'{spec}: {e}') from e


def _copy_lists(args: tuple) -> tuple:
    return tuple(list(a) if isinstance(a, list) else a for a in args)
