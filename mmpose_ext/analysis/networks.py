"""Networks of configs, to be counted or timed."""

import copy
import re
from typing import Iterator, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from ..checks import check_type_names, explain_unknown_types
from ..errors import InputError

# The transforms that make all images of one size, (w, h) in the config.
_RESIZING = re.compile(
    r'TopdownAffine|Bottomup(ShortSide)?Resize|(mmdet\.)?Resize'
)


def check_network(
    cfg: Config, name: str, shape: Optional[Tuple[int, int]] = None
) -> Tuple[int, int]:
    """Check that a config's network can be built, and find its input size.

    Args:
        cfg (Config): The config.
        name (str): The config as the user named it.
        shape (tuple[int, int], optional): Height and width that the user
            wants. Defaults to the output of the test pipeline, or else to the
            codec's input. (A config that inherits its pipelines may have
            another codec than these.)

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
        if _RESIZING.fullmatch(str(step.get('type')))
    ]
    codec = cfg.get('codec')
    if isinstance(codec, dict):
        sizes.append(codec.get('input_size'))
    for size in sizes:
        if isinstance(size, (tuple, list)) and len(size) == 2:
            preprocessor = cfg.model.get('data_preprocessor') or {}
            step = preprocessor.get('pad_size_divisor', 1)
            return tuple(-(-n // step) * step for n in reversed(size))
    raise InputError(f'{name} states no input size: give --shape H W')


def load_network(
    cfg: Config,
    name: str = '',
    shape: Optional[Tuple[int, int]] = None,
    batch: int = 1,
    device: str = 'cpu',
) -> Tuple[nn.Module, Tensor, dict]:
    """Build the network of a config, with random images for its forward.

    The weights are random too: no file is read and nothing is downloaded. A
    two-stage detector suppresses no proposals, so that chance has no part: of
    each image, as many as the ``max_per_img`` of its ``test_cfg.rpn`` (1000
    in MMDetection's configs) reach the head of boxes, and the first 100 of
    all the heads of masks and of keypoints, as in MMDetection's raw forward.

    Args:
        cfg (Config): Config of an MMPose or MMDetection model.
        name (str): Its name in messages. Defaults to the config's file name.
        shape (tuple[int, int], optional): Height and width of the images in
            pixels. Defaults to that of the config's test pipeline.
        batch (int): Number of images. Defaults to 1.
        device (str): Where it is built. Defaults to ``'cpu'``.

    Returns:
        tuple[nn.Module, Tensor, dict]: The network in evaluation mode, and
        the images (N, 3, H, W) and keyword arguments of its forward, which
        ends with the head's raw output.

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
    images = torch.rand(batch, 3, *shape, device=device)
    samples = _detection_samples(shape, batch) if scope == 'mmdet' else None
    kwargs = dict(data_samples=samples, mode='tensor')
    return model.to(device).eval(), images, kwargs


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
    """The metadata of images that two-stage detectors need."""
    from mmdet.structures import DetDataSample

    shapes = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape')
    meta = dict(dict.fromkeys(shapes, shape), scale_factor=(1.0, 1.0))
    return [DetDataSample(metainfo=meta) for _ in range(batch)]
