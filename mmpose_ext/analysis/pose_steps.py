"""Steps of pose estimation to be timed, from what a user names."""

from typing import Any, Optional, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmpose.models.pose_estimators.base import BasePoseEstimator
from mmpose.registry import KEYPOINT_CODECS
from mmpose.structures import PoseDataSample
from mmpose.structures.bbox import bbox_xyxy2corner
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ..checks import explain_unknown_types
from ..engine.config import load_config
from ..errors import InputError
from ..synthetic.skeleton import (
    COCO_KEYPOINTS,
    forward_kinematics,
    sample_angles,
    sample_body,
    view_matrix,
)
from .literals import parse_dict
from .networks import Call, load_network

STEPS = (
    *('encode', 'decode', 'predict', 'train', 'transform', 'batch'),
    *('eager', 'channels-last', 'compiled'),
    *('onnxruntime', 'openvino', 'openvino-int8'),
)


def load_step(
    spec: str,
    shape: Optional[Tuple[int, int]] = None,
    batch: int = 1,
    device: str = 'cpu',
    persons: int = 3,
) -> Call:
    """Load a step of a config, with what it works on.

    Weights and images are random, as in :func:`load_network`; the poses that
    come of it are not those of persons, but as many.

    Args:
        spec (str): One of

            - ``encode:CONFIG`` or ``encode:dict(type=...)``: the config's
              codec, or this one, makes the targets of one image, see
              :func:`load_encode`;
            - ``decode:CONFIG``: the head makes poses of its own outputs, see
              :func:`load_decode`;
            - ``predict:CONFIG``: images become poses, see
              :func:`load_predict`;
            - ``train:CONFIG``: one step of training, see
              :func:`~mmpose_ext.analysis.train_steps.load_train`;
            - ``transform:dict(type=...)``: a transform of a pipeline, see
              :func:`~mmpose_ext.analysis.data_steps.load_transform`;
            - ``batch:CONFIG``: one batch of the training data, see
              :func:`~mmpose_ext.analysis.data_steps.load_batches`;
            - ``RUNTIME:CONFIG``: the network in one of ``eager``,
              ``channels-last``, ``compiled``, ``onnxruntime``, ``openvino``
              and ``openvino-int8``, see
              :func:`~mmpose_ext.analysis.runtime_steps.load_runtime`.
        shape (tuple[int, int], optional): Height and width of the images in
            pixels. Defaults to the config's; of a transform, to 480 and 640.
        batch (int): Number of images. Defaults to 1.
        device (str): Where the network is. Defaults to ``'cpu'``.
        persons (int): Persons of an image. Defaults to 3.

    Raises:
        InputError: There is no such step or config, or the config does not
            fit the step.
    """
    step, _, rest = spec.partition(':')
    if step not in STEPS:
        raise InputError(
            f'{spec}: expected a step of {", ".join(STEPS)}, got {step}'
        )
    if step == 'transform':
        from .data_steps import load_transform

        return load_transform(rest, spec, persons, shape)
    if step == 'encode' and rest.startswith(('dict(', '{')):
        cfg = Config(dict(codec=parse_dict(rest)))
    else:
        cfg = load_config(rest)
    if step == 'encode':
        return load_encode(cfg, spec, persons)
    if step == 'batch':
        from .data_steps import load_batches

        return load_batches(cfg, spec, batch)
    if step == 'train':
        from .train_steps import load_train

        return load_train(cfg, spec, shape, batch, device, persons)
    if step in ('decode', 'predict'):
        load = load_decode if step == 'decode' else load_predict
        return load(cfg, spec, shape, batch, device)
    from .runtime_steps import load_runtime

    return load_runtime(step, cfg, spec, shape, batch, device)


def load_encode(cfg: Config, name: str = '', persons: int = 3) -> Call:
    """Build the codec of a config, with persons for its ``encode``.

    Args:
        cfg (Config): A config with a ``codec``.
        name (str): What to call it. Defaults to the config's file name.
        persons (int): See :func:`make_persons`. Defaults to 3.

    Raises:
        InputError: The config has no codec of keypoints, or the codec cannot
            encode these persons.
    """
    name = name or str(cfg.filename)
    codec_cfg = cfg.get('codec')
    if not isinstance(codec_cfg, dict) or 'input_size' not in codec_cfg:
        raise InputError(
            f"{name}: expected a config with a 'codec', a dict with an "
            f'input_size, got {codec_cfg}'
        )
    with (
        DefaultScope.overwrite_default_scope('mmpose'),
        explain_unknown_types(cfg),
    ):
        try:
            codec = KEYPOINT_CODECS.build(codec_cfg)
        except (AssertionError, TypeError, ValueError) as e:
            raise InputError(f'{name}: {e}') from e
    known = make_persons(persons, codec_cfg['input_size'])
    wanted = {'keypoints', 'keypoints_visible', *codec.auxiliary_encode_keys}
    if not wanted <= set(known):
        raise InputError(
            f'{name}: {type(codec).__name__} wants '
            f'{", ".join(sorted(wanted - set(known)))}, which the synthetic '
            'persons do not have'
        )
    kwargs = {key: known[key] for key in sorted(wanted)}
    call = Call(name, codec.encode, kwargs=kwargs)
    call.check(f'let {type(codec).__name__} encode {persons} persons')
    return call


def load_decode(
    cfg: Config,
    name: str = '',
    shape: Optional[Tuple[int, int]] = None,
    batch: int = 1,
    device: str = 'cpu',
) -> Call:
    """Build a network, with its head's outputs for what comes after them.

    That is the head's ``predict`` without the head's ``forward`` and without
    the flip test: the decoding, what else the head does to find and refine
    poses, and its NMS. No centre is too low to be decoded (``decode_thr`` of
    bottom-up codecs is -1), so that there are ``decode_max_instances``.

    Args:
        cfg (Config): Config of an MMPose model.
        name (str): What to call it. Defaults to the config's file name.
        shape (tuple[int, int], optional): Height and width of the images in
            pixels. Defaults to that of the config's test pipeline.
        batch (int): Number of images. Defaults to 1.
        device (str): Where it is built. Defaults to ``'cpu'``.

    Raises:
        InputError: The config is not of an estimator with a head that works
            like this.
    """
    name = name or str(cfg.filename)
    model, images, samples = _load_estimator(cfg, name, shape, batch, device)
    head, done = model.head, []
    with torch.inference_mode():
        feats = model.extract_feat(images)
        outputs = head.forward(feats)

    def forward(_: Any) -> Any:
        done[:] = [True]
        return _alias(outputs)

    head.forward = forward
    test_cfg = dict(model.test_cfg, flip_test=False)
    call = Call(name, head.predict, (feats, samples), dict(test_cfg=test_cfg))
    call.check(f'let {type(head).__name__} decode its outputs')
    if not done:
        raise InputError(
            f'{name}: the predict of {type(head).__name__} does not use its '
            'forward'
        )
    return call


def load_predict(
    cfg: Config,
    name: str = '',
    shape: Optional[Tuple[int, int]] = None,
    batch: int = 1,
    device: str = 'cpu',
) -> Call:
    """Build a network, with images for its whole ``predict``.

    It tests as the config says, mostly with a flip test, and NMS. As in
    :func:`load_decode`, no centre is too low.

    Args:
        cfg (Config): Config of an MMPose model.
        name (str): What to call it. Defaults to the config's file name.
        shape (tuple[int, int], optional): Height and width of the images in
            pixels. Defaults to that of the config's test pipeline.
        batch (int): Number of images. Defaults to 1.
        device (str): Where it is built. Defaults to ``'cpu'``.

    Raises:
        InputError: The config is not of an estimator with a head, or the
            estimator does not work on such images.
    """
    name = name or str(cfg.filename)
    model, images, samples = _load_estimator(cfg, name, shape, batch, device)
    call = Call(name, model.predict, (images, samples), images=batch)
    call.check(f'let {type(model).__name__} predict a batch of {batch}')
    return call


def make_persons(number: int, size: Tuple[int, int], seed: int = 0) -> dict:
    """Persons somewhere in an image, as a pipeline hands them to a codec.

    They stand, walk or sit as the toy persons do, are 0.3 to 0.8 times as
    high as fits, and have all of COCO's 17 keypoints labelled.

    Args:
        number (int): Number of persons N.
        size (tuple[int, int]): Width and height of the image in pixels.
        seed (int): Of the poses and places. Defaults to 0.

    Returns:
        dict: ``keypoints`` (N, 17, 2), px, ``keypoints_visible`` (N, 17),
        ``area`` (N,), 0.53 times that of the box around the keypoints,
        ``bbox`` (N, 4, 2), the corners of this box, ``iscrowd`` (N,), 0, and
        ``flip_direction``, None.
    """
    rng = np.random.default_rng(seed)
    poses = []
    for _ in range(number):
        points, _ = forward_kinematics(sample_body(rng), sample_angles(rng)[0])
        view = view_matrix(rng.uniform(0, 360), pitch=0, roll=0)
        poses.append(np.stack([points[k] for k in COCO_KEYPOINTS]) @ view.T)
    keypoints = np.stack(poses)[..., :2]
    keypoints -= keypoints.min(axis=1, keepdims=True)
    free = np.array(size) - 1
    scale = (free / keypoints.max(axis=1)).min(axis=1)
    scale = scale * rng.uniform(0.3, 0.8, number)
    keypoints *= scale[:, None, None]
    free = free - keypoints.max(axis=1)
    keypoints += (rng.random((number, 2)) * free)[:, None]
    keypoints = keypoints.astype(np.float32)

    boxes = [keypoints.min(axis=1), keypoints.max(axis=1)]
    return dict(
        keypoints=keypoints,
        keypoints_visible=np.ones(keypoints.shape[:2], np.float32),
        area=0.53 * (boxes[1] - boxes[0]).prod(axis=1),
        bbox=bbox_xyxy2corner(np.concatenate(boxes, axis=1)),
        iscrowd=np.zeros(number, int),
        flip_direction=None,
    )


def _load_estimator(
    cfg: Config,
    name: str,
    shape: Optional[Tuple[int, int]],
    batch: int,
    device: str,
) -> Tuple[BasePoseEstimator, Tensor, list]:
    """The model that finds as many persons as it can, images, samples."""
    network = load_network(cfg, name, shape, batch, device)
    model, (images,) = network.module, network.args
    if not isinstance(model, BasePoseEstimator):
        raise InputError(
            f'{name}: expected a pose estimator, got {type(model).__name__}'
        )
    samples = _make_samples(cfg, name, images)
    decoder = getattr(model.head, 'decoder', None)
    if hasattr(decoder, 'decode_thr'):
        decoder.decode_thr = -1
    _normalise(model, images)
    return model, images, samples


def _normalise(model: BasePoseEstimator, images: Tensor) -> None:
    """Set the norms to their inputs; maps hardly vary in space otherwise.

    Then there would be nothing to find where a random bias is negative.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.train().momentum = 1
    # Two, because norms after a global pooling need as many.
    with torch.no_grad():
        model.extract_feat(torch.cat([images, torch.rand_like(images)]))
    for norm in norms:
        norm.eval()


def _make_samples(cfg: Config, name: str, images: Tensor) -> list:
    """What estimators want to know of images that are the inputs."""
    # MMPose's apis import MMDetection too.
    from mmpose.apis.inference import dataset_meta_from_config

    meta = dataset_meta_from_config(cfg, 'test')
    if meta is None:
        raise InputError(
            f'{name}: expected a test_dataloader whose dataset tells the '
            'keypoints'
        )
    h, w = images.shape[2:]
    meta.update(
        img_shape=(h, w),
        ori_shape=(h, w),
        input_size=(w, h),
        input_center=np.array([w / 2, h / 2]),
        input_scale=np.array([w, h], float),
    )
    whole = InstanceData(
        bboxes=np.array([[0, 0, w, h]], np.float32),
        bbox_scores=np.ones(1, np.float32),
    )
    samples = [PoseDataSample(metainfo=meta) for _ in images]
    for sample in samples:
        sample.gt_instances = whole
    return samples


def _alias(outputs: Any) -> Any:
    """The same data, but tensors whose shape may be changed in place."""
    if isinstance(outputs, (tuple, list)):
        return type(outputs)(map(_alias, outputs))
    return outputs.detach()
