"""A multi-task network that is small enough to run in no time."""

import copy
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

CONFIGS = Path(__file__).parents[2] / 'configs/multitask_rcnn'
HEIGHT, WIDTH = 96, 128


@pytest.fixture(autouse=True)
def mmdet_scope():
    """Types are looked up as in MMDet."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='session')
def make_model():
    """Build the network of a config with few channels and random weights."""

    @functools.cache
    def build(name, conv):
        loaded = Config.fromfile(CONFIGS / f'{name}.py')
        cfg = loaded.model
        extractor = dict(out_channels=8, finest_scale=28)
        masks = dict(mask_roi_extractor=extractor)
        if cfg.roi_head.mask_head is not None:
            masks['mask_head'] = dict(
                num_convs=1, in_channels=8, conv_out_channels=8
            )
        loaded.merge_from_dict(
            dict(
                model=dict(
                    backbone=dict(
                        base_channels=4,
                        frozen_stages=-1,
                        norm_cfg=dict(requires_grad=True),
                        zero_init_residual=False,
                        init_cfg=None,
                        **(dict(dcn=dict(type=conv)) if conv else {}),
                    ),
                    neck=dict(
                        in_channels=[c // 16 for c in cfg.neck.in_channels],
                        out_channels=8,
                    ),
                    rpn_head=dict(in_channels=8, feat_channels=8),
                    roi_head=dict(
                        bbox_roi_extractor=extractor,
                        bbox_head=dict(in_channels=8, fc_out_channels=16),
                        keypoint_roi_extractor=extractor,
                        keypoint_head=dict(
                            in_channels=8, conv_channels=8, num_convs=2
                        ),
                        **(masks if cfg.roi_head.mask_head else {}),
                    ),
                    train_cfg=dict(
                        rpn_proposal=dict(max_per_img=20),
                        rcnn=dict(sampler=dict(num=16)),
                    ),
                    test_cfg=dict(rpn=dict(max_per_img=20)),
                )
            )
        )
        torch.manual_seed(0)
        model = MODELS.build(loaded.model)
        model.init_weights()
        return model

    def make(
        name='multitask-rcnn-rbh_r50-dcn_fpn-c3c5_4xb3-90k_coco', conv=None
    ):
        return copy.deepcopy(build(name, conv))

    return make


@pytest.fixture
def make_sample():
    """An image's annotations: so many persons, each with all it can have."""

    def make(number, scale_factor=(1.0, 1.0), seed=0):
        rng = np.random.RandomState(seed)
        start = rng.uniform(0, 30, (number, 2))
        boxes = np.concatenate(
            [start, start + rng.uniform(20, 30, (number, 2))], 1
        )
        inside = rng.uniform(0, 1, (number, 17, 2))
        keypoints = (
            boxes[:, None, :2] + inside * (boxes[:, 2:] - start)[:, None]
        )
        masks = np.zeros((number, HEIGHT, WIDTH), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int)):
            mask[y1:y2, x1:x2] = 1
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(HEIGHT, WIDTH),
                ori_shape=(
                    round(HEIGHT / scale_factor[1]),
                    round(WIDTH / scale_factor[0]),
                ),
                pad_shape=(HEIGHT, WIDTH),
                batch_input_shape=(HEIGHT, WIDTH),
                scale_factor=scale_factor,
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            labels=torch.zeros(number, dtype=torch.long),
            masks=BitmapMasks(masks, HEIGHT, WIDTH),
            keypoints=torch.tensor(keypoints, dtype=torch.float32),
            keypoints_visible=torch.full((number, 17), 2.0),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        return sample

    return make


@pytest.fixture
def make_persons():
    def make(boxes, masks=BitmapMasks):
        """Annotations in which person i has its number everywhere."""
        n = len(boxes)
        number = np.arange(n)
        if masks is BitmapMasks:
            bitmaps = np.zeros((n, 6, 8), np.uint8)
            bitmaps[number, 0, number] = 1
            gt_masks = BitmapMasks(bitmaps, 6, 8)
        else:
            corners = np.array([0, 0, 1, 0, 0, 1.0])
            gt_masks = PolygonMasks([[corners + i] for i in number], 6, 8)
        keypoints = np.zeros((n, 3, 3), np.float32)
        keypoints[..., 0] = number[:, None]
        return dict(
            img=np.zeros((6, 8, 3), np.uint8),
            img_shape=(6, 8),
            gt_bboxes=HorizontalBoxes(np.reshape(boxes, (-1, 4)).astype('f4')),
            gt_bboxes_labels=number,
            gt_ignore_flags=number % 2 == 1,
            gt_masks=gt_masks,
            gt_keypoints=keypoints,
        )

    return make
