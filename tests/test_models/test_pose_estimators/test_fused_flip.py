import copy

import pytest
import torch
from mmengine.structures import InstanceData
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample

from mmpose_ext.models.pose_estimators.fused_flip import split_batch

SIZE = (48, 64)
HEATMAPS = dict(
    type='MSRAHeatmap', input_size=SIZE, heatmap_size=(12, 16), sigma=1
)
RESNET = dict(type='ResNet', depth=18, stem_channels=8, base_channels=8)
POOL = dict(type='GlobalAveragePooling')
# Backbone, neck and head: maps, SimCC vectors and coordinates.
TOPDOWN = {
    'heatmaps': dict(
        backbone=RESNET,
        head=dict(
            type='HeatmapHead',
            in_channels=64,
            out_channels=17,
            deconv_out_channels=(8, 8, 8),
            deconv_kernel_sizes=(4, 4, 4),
            decoder=HEATMAPS,
        ),
    ),
    'several maps': dict(
        backbone=dict(RESNET, out_indices=(0, 1)),
        neck=dict(type='GPRNeck', in_channels=[8, 16]),
        head=dict(
            type='HeatmapHead',
            in_channels=8,
            out_channels=17,
            deconv_out_channels=None,
            decoder=HEATMAPS,
        ),
    ),
    'stages': dict(
        backbone=dict(
            type='MSPN',
            unit_channels=16,
            num_stages=2,
            num_units=2,
            num_blocks=[1, 1],
        ),
        head=dict(
            type='MSPNHead',
            out_shape=(16, 12),
            unit_channels=16,
            out_channels=17,
            num_stages=2,
            num_units=2,
            norm_cfg=dict(type='BN'),
            level_indices=[0, 1] * 2,
            loss=[dict(type='KeypointMSELoss')] * 4,
            decoder=HEATMAPS,
        ),
    ),
    'SimCC': dict(
        backbone=RESNET,
        head=dict(
            type='RTMCCHead',
            in_channels=64,
            out_channels=17,
            input_size=SIZE,
            in_featuremap_size=(2, 2),
            decoder=dict(
                type='SimCCLabel',
                input_size=SIZE,
                sigma=2.0,
                simcc_split_ratio=2.0,
            ),
        ),
    ),
    'coordinates': dict(
        backbone=RESNET,
        neck=POOL,
        head=dict(
            type='RegressionHead',
            in_channels=64,
            num_joints=17,
            decoder=dict(type='RegressionLabel', input_size=SIZE),
        ),
    ),
}
FLIP = dict(
    flip_test=True,
    flip_mode='heatmap',
    shift_heatmap=False,
    shift_coords=False,
    output_heatmaps=True,
)


def build(kind, parts, **test_cfg):
    torch.manual_seed(0)
    # Building changes configs.
    parts = copy.deepcopy(parts)
    model = MODELS.build(
        dict(type=kind, test_cfg=dict(FLIP, **test_cfg), **parts)
    )
    return model.eval()


def pair(kind, parts, **test_cfg):
    """MMPose's estimator and ours, with the same weights."""
    plain, fused = (
        build(name, parts, **test_cfg) for name in (kind, f'FusedFlip{kind}')
    )
    assert list(plain.state_dict()) == list(fused.state_dict())
    fused.load_state_dict(plain.state_dict())
    return plain, fused


def samples(number, **metainfo):
    return [
        PoseDataSample(
            metainfo=dict(
                input_size=SIZE,
                input_center=torch.tensor([20.0, 30.0]).numpy(),
                input_scale=torch.tensor([96.0, 128.0]).numpy(),
                flip_indices=[0, *range(16, 0, -1)],
                **metainfo,
            ),
            gt_instances=InstanceData(
                bboxes=torch.zeros(1, 4).numpy(),
                bbox_scores=torch.ones(1).numpy(),
            ),
        )
        for _ in range(number)
    ]


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        for key in ('keypoints', 'keypoint_scores'):
            first, second = (torch.as_tensor(s.pred_instances[key])
                             for s in (x, y))  # fmt: skip
            assert first.numel()
            torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-4)
        if 'pred_fields' in x:
            torch.testing.assert_close(
                x.pred_fields.heatmaps,
                y.pred_fields.heatmaps,
                rtol=1e-5,
                atol=1e-5,
            )


@pytest.mark.parametrize('parts', TOPDOWN.values(), ids=TOPDOWN)
@torch.no_grad()
def test_top_down_predicts_what_two_passes_do(parts):
    plain, fused = pair('TopdownPoseEstimator', parts)
    batches = []
    fused.backbone.register_forward_pre_hook(
        lambda module, args: batches.append(len(args[0]))
    )
    images = torch.randn(3, 3, *SIZE[::-1])
    for flip_test in (True, False, None):
        for model in (plain, fused):
            model.test_cfg['flip_test'] = flip_test
        want = plain.predict(images, samples(3))
        assert_same(want, fused.predict(images, samples(3)))
    del fused.test_cfg['flip_test']
    fused.predict(images, samples(3))
    assert batches == [6, 3, 3, 3]


BOTTOMUP = dict(
    backbone=dict(RESNET, out_indices=(0,)),
    head=dict(
        type='AssociativeEmbeddingHead',
        in_channels=8,
        num_keypoints=17,
        deconv_out_channels=None,
        tag_per_keypoint=True,
        decoder=dict(
            type='AssociativeEmbedding',
            input_size=SIZE,
            heatmap_size=(12, 16),
            sigma=1,
        ),
    ),
)


@pytest.mark.parametrize('several', [False, True])
@torch.no_grad()
def test_bottom_up_gives_the_head_what_two_passes_do(several, monkeypatch):
    seen = []
    models = pair('BottomupPoseEstimator', BOTTOMUP, multiscale_test=several)
    for model in models:

        def predict(feats, data_samples, test_cfg):
            seen.append(feats)
            return [InstanceData(keypoints=torch.zeros(1, 17, 2).numpy(),
                                 keypoint_scores=torch.zeros(1, 17).numpy())
                    for _ in data_samples]  # fmt: skip

        monkeypatch.setattr(model.head, 'predict', predict)
        pyramid = [torch.full((2, 3, n, n), 0.5) for n in (32, 64)]
        pyramid[1][..., :20] = -0.5
        images = pyramid if several else pyramid[1]
        model.predict(images, samples(2, aug_scales=[2]))
    want, got = seen if several else ([feats] for feats in seen)
    assert len(want) == len(got) == (2 if several else 1)
    for a, b in zip(want, got):
        (first, second), (first_, second_) = a, b
        torch.testing.assert_close(first, first_, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(second, second_, rtol=1e-5, atol=1e-5)
    first, second = got[-1]
    assert (first[0] - second[0]).abs().max() > 1e-3


def test_nested_features_keep_their_structure():
    whole = torch.arange(4.0).view(4, 1)
    feats = ([whole, (whole + 4,)], whole + 8)
    first, second = split_batch(feats)
    low, high = torch.tensor([[0.0], [1]]), torch.tensor([[2.0], [3]])
    for half, part in ((first, low), (second, high)):
        assert isinstance(half, tuple) and isinstance(half[0], list)
        assert isinstance(half[0][1], tuple)
        torch.testing.assert_close(half[0][0], part)
        torch.testing.assert_close(half[0][1][0], part + 4)
        torch.testing.assert_close(half[1], part + 8)
