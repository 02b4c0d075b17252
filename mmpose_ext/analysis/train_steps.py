"""One step of training, to be timed."""

from typing import Optional, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpose.models import BottomupPoseEstimator
from mmpose.models.pose_estimators.base import BasePoseEstimator

from ..checks import check_type_names, explain_unknown_types
from ..errors import InputError
from .networks import Call, load_network
from .pose_steps import make_persons


def load_train(
    cfg: Config,
    name: str = '',
    shape: Optional[Tuple[int, int]] = None,
    batch: int = 1,
    device: str = 'cpu',
    persons: int = 3,
) -> Call:
    """Build a network and its optimizer, with a batch to train on.

    A step is what a training loop does with a batch: normalisation, forward,
    loss, backward, and the step of the optimizer. What hooks add, such as an
    average of the weights, is left out. No step is taken before the first
    call, so that this may fail.

    The images are random. Their targets are made of synthetic persons (see
    :func:`make_persons`) by the end of the config's own training pipeline,
    from its ``GenerateTarget`` on. A dataset with other keypoints than
    COCO's gets as many, taken from COCO's in turn.

    Args:
        cfg (Config): Config of an MMPose model.
        name (str): What to call it. Defaults to the config's file name.
        shape (tuple[int, int], optional): Height and width of the images in
            pixels; the codec knows one alone. Defaults to that.
        batch (int): Number of images. Defaults to 1.
        device (str): Where the network is. Defaults to ``'cpu'``.
        persons (int): Persons of an image, for bottom-up models. Defaults to
            3.

    Raises:
        InputError: The config has nothing to train, its training pipeline
            makes no targets, or the images are not of the codec's size.
    """
    name = name or str(cfg.filename)
    network = load_network(cfg, name, shape, batch, device)
    model = network.module
    if not isinstance(model, BasePoseEstimator):
        raise InputError(
            f'{name}: expected a pose estimator, got {type(model).__name__}'
        )
    if not cfg.get('optim_wrapper'):
        raise InputError(f"{name}: expected a config with an 'optim_wrapper'")
    if not isinstance(model, BottomupPoseEstimator):
        persons = 1
    data = _make_batch(cfg, name, shape, batch, persons)
    scope = cfg.get('default_scope') or 'mmpose'
    check_type_names(cfg, ['optim_wrapper'])
    with (
        DefaultScope.overwrite_default_scope(scope),
        explain_unknown_types(cfg),
    ):
        try:
            optimizer = build_optim_wrapper(model.train(), cfg.optim_wrapper)
        except (AssertionError, TypeError, ValueError) as e:
            raise InputError(
                f'{name}: cannot build its optim_wrapper: {e}'
            ) from e
    # Not tried: the first step makes the gradients and the optimizer's state,
    # which belong to the memory of training.
    return Call(
        name, model.train_step, (data, optimizer), images=batch, grad=True
    )


def _make_batch(
    cfg: Config,
    name: str,
    shape: Optional[Tuple[int, int]],
    batch: int,
    persons: int,
) -> dict:
    """What the training's dataloader would hand out."""
    # MMPose's apis import MMDetection too.
    from mmpose.apis.inference import dataset_meta_from_config

    pipeline = _target_transforms(cfg, name)
    meta = dataset_meta_from_config(cfg, 'train')
    if meta is None:
        raise InputError(
            f'{name}: expected a train_dataloader whose dataset tells the '
            'keypoints'
        )
    encoder = pipeline[0]['encoder']
    encoders = encoder if isinstance(encoder, (list, tuple)) else [encoder]
    if 'input_size' not in encoders[0]:
        raise InputError(
            f'{name}: expected a codec with an input_size, got {encoders[0]}'
        )
    width, height = encoders[0]['input_size']
    if shape is not None and tuple(shape) != (height, width):
        raise InputError(
            f'{name}: its codec is for images of {height}x{width}, got '
            f'{shape[0]}x{shape[1]}'
        )
    scope = cfg.get('default_scope') or 'mmpose'
    with (
        DefaultScope.overwrite_default_scope(scope),
        explain_unknown_types(cfg),
    ):
        transform = Compose(pipeline)

    rng = np.random.default_rng(0)
    samples = []
    for seed in range(batch):
        known = make_persons(persons, (width, height), seed)
        chosen = np.arange(meta['num_keypoints']) % 17
        for key in ('keypoints', 'keypoints_visible'):
            known[key] = known[key][:, chosen]
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        samples.append(
            transform(
                dict(
                    **meta,
                    **known,
                    img=image,
                    img_shape=(height, width),
                    input_size=(width, height),
                    warp_mat=np.eye(2, 3, dtype=np.float32),
                )
            )
        )
    return pseudo_collate(samples)


def _target_transforms(cfg: Config, name: str) -> list:
    """The training transforms from ``GenerateTarget`` on."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    while dataset:
        pipeline = dataset.get('pipeline', [])
        for i, transform in enumerate(pipeline):
            if transform['type'] == 'GenerateTarget':
                return [step.to_dict() for step in pipeline[i:]]
        dataset = dataset.get('dataset')
    raise InputError(
        f"{name}: expected a training pipeline with a 'GenerateTarget'"
    )
