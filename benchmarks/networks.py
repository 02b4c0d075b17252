"""Networks, runtimes, training steps and predictions to be timed.

Weights and images are random, also those that 8-bit networks are calibrated
with: their latency is that of a good calibration, their accuracy is not.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpose.apis.inference import dataset_meta_from_config
from mmpose.models import BottomupPoseEstimator
from mmpose.testing import get_packed_inputs

from mmpose_ext.analysis import load_network
from mmpose_ext.checks import explain_errors
from mmpose_ext.engine.config import load_config

from .data import make_sample
from .measure import Call

_EXPORTED = ('onnxruntime', 'openvino', 'openvino-int8')
RUNTIMES = ('network', 'eager', 'compiled', *_EXPORTED)


def load_runtime(kind: str, config: str, batch: int = 1, **options) -> Call:
    """The ``network`` of any config, or a pose estimator's in a runtime."""
    cfg = load_config(config)
    model, images, kwargs = load_network(cfg, config, batch=batch, **options)
    if kind == 'network':
        return Call(lambda: model(images, **kwargs), batch)
    # It imports NNCF, which takes long.
    from mmpose_ext.deploy.network import PoseNetwork

    network: Any = PoseNetwork(model).eval()
    if kind == 'compiled':
        network = torch.compile(network)
    elif kind in _EXPORTED:
        network, images = _export(kind, network, images), images.numpy()
    return Call(lambda: network(images), batch)


def load_predict(kind: str, config: str, batch: int = 1, **options) -> Call:
    """From images to poses, with the config's flip test and NMS.

    A bottom-up model finds as many persons as it may, however low they are.
    """
    cfg = load_config(config)
    model, images, _ = load_network(cfg, config, batch=batch, **options)
    if hasattr(model.head.decoder, 'decode_thr'):
        model.head.decoder.decode_thr = -1
    h, w = images.shape[2:]
    keypoints = dataset_meta_from_config(cfg, 'test')['num_keypoints']
    size = dict(img_shape=(h, w), input_size=(w, h), num_keypoints=keypoints)
    samples = get_packed_inputs(batch, **size)['data_samples']
    # Norms as their inputs, or the maps of random weights would hardly vary;
    # two images, because norms after a global pooling need as many.
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.train().momentum = 1
    with torch.no_grad():
        model.extract_feat(torch.cat([images, torch.rand_like(images)]))
    model.eval()
    return Call(lambda: model.predict(images, samples), batch)


def load_train(kind: str, config: str, shape=None, batch=1, **options) -> Call:
    """One step of training, from normalisation to optimizer; no hooks.

    The size is the codec's. The end of the config's training pipeline makes
    targets of random persons, who have as many keypoints as the dataset.
    """
    cfg = load_config(config)
    pipeline = cfg.train_dataloader.dataset.pipeline
    first = [step.type for step in pipeline].index('GenerateTarget')
    pipeline = pipeline[first:]
    width, height = pipeline[0].encoder.input_size
    model, *_ = load_network(cfg, config, (height, width), batch, **options)
    persons = 3 if isinstance(model, BottomupPoseEstimator) else 1
    sample = make_sample((height, width), persons)
    meta = dataset_meta_from_config(cfg, 'train')
    for key in ('keypoints', 'keypoints_visible'):
        sample[key] = sample[key][:, np.arange(meta['num_keypoints']) % 17]
    sample.update(meta, input_size=(width, height), warp_mat=np.eye(2, 3))
    with DefaultScope.overwrite_default_scope('mmpose'), explain_errors(cfg):
        transform = Compose(pipeline)
        data = [transform(dict(sample)) for _ in range(batch)]
        optimizer = build_optim_wrapper(model.train(), cfg.optim_wrapper)
    data = pseudo_collate(data)
    return Call(lambda: model.train_step(data, optimizer), batch, grad=True)


def _export(kind: str, network: torch.nn.Module, images: torch.Tensor) -> Any:
    """Export a network to a file that is gone when this returns."""
    from mmpose_ext.deploy.formats import export_network, quantize
    from mmpose_ext.deploy.runtimes import open_network

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'a.onnx' if kind == 'onnxruntime' else 'a.xml')
        # A batch of one would be taken for a constant.
        export_network(network, images.repeat(2, 1, 1, 1), path)
        if kind == 'openvino-int8':
            whole, path = path, Path(folder, 'int8.xml')
            drawn = torch.rand(4, *images[:1].shape).numpy()
            quantize(whole, path, list(drawn))
        return open_network(path, num_threads=torch.get_num_threads())
