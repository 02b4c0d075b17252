"""MMDet's detectors with few channels and random weights."""

import copy
import functools
from typing import List

import numpy as np
import torch
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn

R50 = dict(
    backbone=dict(base_channels=8, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256]),
)
TWO_STAGE = dict(
    R50,
    roi_head=dict(bbox_head=dict(fc_out_channels=64)),
    test_cfg=dict(rpn=dict(max_per_img=60), rcnn=dict(max_per_img=20)),
)
ONE_STAGE = dict(test_cfg=dict(nms_pre=300, max_per_img=20))
DETECTORS = {
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco': TWO_STAGE,
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco': TWO_STAGE,
    'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco': TWO_STAGE,
    'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco': TWO_STAGE,
    'retinanet/retinanet_r50_fpn_1x_coco': dict(R50, **ONE_STAGE),
    'rtmdet/rtmdet_tiny_8xb32-300e_coco': dict(
        ONE_STAGE, backbone=dict(init_cfg=None)
    ),
}
# Of weights with such names. Where offsets vary by cells, each layer enlarges
# the errors of the one before.
GAINS = dict(_cls=0.1, _reg=0.02, conv_offset=1e-4)
SIZE = 96, 128


@functools.cache
def build(name: str) -> nn.Module:
    """A detector whose scores and boxes vary; the same on any machine."""
    from mmdet.registry import MODELS

    config = get_config(f'mmdet::{name}.py')
    config.merge_from_dict(dict(model=DETECTORS[name]))
    model = MODELS.build(config.model)
    rng = np.random.RandomState(0)
    for key, parameter in model.named_parameters():
        value = rng.normal(size=parameter.shape)
        if parameter.ndim == 1:
            value = 0.1 * value + key.endswith('weight')
        else:
            gain = next((g for k, g in GAINS.items() if k in key), 1.5)
            value *= (gain / parameter[0].numel()) ** 0.5
        parameter.data.copy_(torch.from_numpy(value))
    # Norms as their inputs, or activations would grow from layer to layer.
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train().momentum = 1
    with torch.no_grad():
        model.extract_feat(_images())
    return model.eval()


def detect(name: str) -> List[Tensor]:
    """Boxes, scores and classes, and shares of masks, of two images."""
    with DefaultScope.overwrite_default_scope('mmdet'), torch.no_grad():
        model = build(name)
        results = model.predict(_images(), _samples(model.with_mask))
    found = []
    for persons in (sample.pred_instances for sample in results):
        found += [persons.bboxes, persons.scores, persons.labels]
        if 'masks' in persons:
            found.append(persons.masks.float().mean((1, 2)))
    return found


def train(name: str) -> List[Tensor]:
    """The loss, and the gradients of all parameters that have one."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = build(name)
        torch.manual_seed(0)
        losses = model.loss(_images(), _samples(model.with_mask))
    loss, _ = model.parse_losses(losses)
    parameters = [p for p in model.parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [loss, *(grad for grad in grads if grad is not None)]


def _images() -> Tensor:
    drawn = np.random.RandomState(1).normal(size=(2, 3, *SIZE))
    return torch.from_numpy(drawn).float()


def _samples(with_masks: bool) -> list:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    sides = dict.fromkeys(
        ('img_shape', 'ori_shape', 'batch_input_shape', 'pad_shape'), SIZE
    )
    sample = DetDataSample(metainfo=dict(sides, scale_factor=(1.0, 1.0)))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[9.0, 9, 70, 60], [50, 5, 99, 90]]),
        labels=torch.tensor([3, 7]),
    )
    if with_masks:
        masks = BitmapMasks(np.ones((2, *SIZE), np.uint8), *SIZE)
        sample.gt_instances.masks = masks
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    return [copy.deepcopy(sample) for _ in range(2)]
