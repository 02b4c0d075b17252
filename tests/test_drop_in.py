"""Our modules in MMPose's own configs, by a one-line override each."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS, MODELS

IMPORTS = dict(imports=['mmpose_ext'], allow_failed_imports=False)


def through(neck, in_channels, out_indices, **neck_args):
    """Several maps of a backbone through a neck to a head at stride 4."""
    return dict(
        backbone=dict(out_indices=out_indices),
        neck=dict(type=neck, in_channels=in_channels, **neck_args),
        head=dict(in_channels=in_channels[0], deconv_out_channels=None),
    )


def refined(*in_channels, out_indices=(0, 1, 2, 3)):
    return through('GPRNeck', in_channels, out_indices)


def weighted(*in_channels, out_indices=(0, 1, 2, 3)):
    return through(
        'RAMNeck', in_channels, out_indices, multiscale_output=False
    )


MULTISCALE = dict(extra=dict(stage4=dict(multiscale_output=True)))
# MMPose's config, which may be followed by the name of the module, and what a
# user's config adds to `model`.
CASES = {
    'hrnet-w32_8xb64': dict(
        backbone=MULTISCALE,
        neck=dict(type='GPRNeck', in_channels=[32, 64, 128, 256]),
    ),
    'hrnet-w48_8xb32': dict(backbone=dict(type='RAMHRNet')),
    'res50_8xb64': refined(256, 512, out_indices=(0, 1)),
    'resnext50_8xb64': refined(256, 512, out_indices=(0, 1)),
    'scnet50_8xb64': refined(256, 512, out_indices=(0, 1)),
    'resnetv1d50_8xb64': weighted(256, 512, 1024, 2048),
    'seresnet50_8xb64': weighted(256, 512, 1024, 2048),
    'resnest50_8xb64': weighted(256, 512, 1024, 2048),
    'mobilenetv2_8xb64': refined(24, 32, 96, 1280, out_indices=(1, 2, 4, 7)),
    'swin-t-p4-w7_8xb32': refined(96, 192, 384, 768),
    'pvt-s_8xb64': refined(64, 128, 320, 512),
    'hrformer-small_8xb32': dict(
        backbone=MULTISCALE,
        neck=dict(
            type='RAMNeck',
            in_channels=[32, 64, 128, 256],
            multiscale_output=False,
        ),
    ),
    'hrnet-w32_8xb64 PSMHRNet': dict(backbone=dict(type='PSMHRNet')),
    'swin-t-p4-w7_8xb32 PSMNeck': through(
        'PSMNeck', [96, 192, 384, 768], (0, 1, 2, 3)
    ),
    'pvt-s_8xb64 PSMNeck': through(
        'PSMNeck', [64, 128, 320, 512], (0, 1, 2, 3), expansion='literal'
    ),
    'hrnet-w32_8xb64 ContextNeck': dict(
        neck=dict(
            type='ContextNeck',
            in_channels=32,
            context=dict(type='UShapedContext'),
        )
    ),
    'res50_8xb64 ContextNeck': through(
        'ContextNeck',
        [256],
        (0,),
        context=dict(type='PyramidPoolingContext'),
    ),
    'shufflenetv2_8xb64 ContextNeck': dict(
        neck=dict(
            type='ContextNeck',
            in_channels=1024,
            context=dict(type='ASPPContext', mid_channels=64),
        )
    ),
    'res50_8xb64 SequentialNeck': dict(
        backbone=dict(out_indices=(0, 1, 2, 3)),
        neck=dict(
            type='SequentialNeck',
            necks=[
                dict(
                    type='ChannelMapper',
                    in_channels=[256, 512, 1024, 2048],
                    out_channels=32,
                    kernel_size=1,
                ),
                dict(type='RAMNeck', in_channels=[32] * 4),
                dict(type='GPRNeck', in_channels=[32] * 4),
            ],
        ),
        head=dict(in_channels=32, deconv_out_channels=None),
    ),
    'mobilenetv2_8xb64 RAMNeck': weighted(
        24, 32, 96, 1280, out_indices=(1, 2, 4, 7)
    ),
}


def load(name):
    cfg = get_config(
        'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
        f'td-hm_{name.split()[0]}-210e_coco-256x192.py'
    )
    if 'neck' in CASES[name]:
        cfg.model.pop('neck', None)
    cfg.merge_from_dict(dict(custom_imports=IMPORTS, model=CASES[name]))
    cfg.model.backbone.init_cfg = None
    # MMPose's Swin and PVT read this older name of init_cfg too.
    if 'pretrained' in cfg.model.backbone:
        cfg.model.backbone.pretrained = None
    init_default_scope('mmpose')
    return cfg


@pytest.mark.parametrize('name', CASES)
def test_maps_go_from_the_backbone_to_the_head(name):
    """By their shapes alone."""
    model = MODELS.build(load(name).model).to('meta')
    images = torch.empty(2, 3, 256, 192, device='meta')
    assert model(images, None, mode='tensor').shape == (2, 17, 64, 48)


@pytest.mark.parametrize(
    'name',
    [
        'mobilenetv2_8xb64',
        'mobilenetv2_8xb64 RAMNeck',
        'pvt-s_8xb64 PSMNeck',
        'shufflenetv2_8xb64 ContextNeck',
    ],
)
def test_trains_a_step_and_predicts(name, toy_persons):
    cfg = load(name)
    for split in ('train', 'val'):
        cfg[f'{split}_dataloader'].dataset.update(
            data_root=str(toy_persons),
            ann_file=f'annotations/person_keypoints_{split}.json',
            data_prefix=dict(img=f'{split}/'),
            bbox_file=None,
        )
    cfg.train_dataloader.dataset.pipeline.insert(-2, dict(type='Cutout'))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    train_set = DATASETS.build(cfg.train_dataloader.dataset)
    batch = pseudo_collate([train_set[0], train_set[1]])
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = [p.detach().clone() for p in model.neck.parameters()]
    losses = model.train_step(batch, optim_wrapper)
    assert losses['loss'].isfinite() and losses['loss'] > 0
    assert any(
        not torch.equal(a, b) for a, b in zip(before, model.neck.parameters())
    )

    test_set = DATASETS.build(cfg.val_dataloader.dataset)
    model.eval()
    with torch.no_grad():
        (sample,) = model.test_step(pseudo_collate([test_set[0]]))
    keypoints = sample.pred_instances.keypoints
    assert keypoints.shape == (1, 17, 2)
    assert np.isfinite(keypoints).all()


def test_logocap_head_in_a_bottom_up_config(toy_persons):
    """MMPose's CID with another head, codec and input size, and no more."""
    cfg = get_config(
        'mmpose::body_2d_keypoint/cid/coco/'
        'cid_hrnet-w32_8xb20-140e_coco-512x512.py'
    )
    codec = dict(
        type='CenterOffset', input_size=(128, 128), heatmap_size=(32, 32)
    )
    cfg.model.head = dict(
        type='LOGOCAPHead',
        in_channels=480,
        num_keypoints=17,
        refinement_channels=(16, 16, 16),
        decoder=codec,
        expansion=dict(type='KeypointExpansion', sigmas=[0.05] * 17),
    )
    cfg.model.backbone.init_cfg = None
    for split in ('train', 'val'):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset.update(
            data_root=str(toy_persons),
            ann_file=f'annotations/person_keypoints_{split}.json',
            data_prefix=dict(img=f'{split}/'),
        )
        for step in dataset.pipeline:
            if 'input_size' in step:
                step.input_size = codec['input_size']
            if 'encoder' in step:
                step.encoder = codec
    init_default_scope('mmpose')
    torch.manual_seed(0)
    np.random.seed(0)
    model = MODELS.build(cfg.model)
    train_set = DATASETS.build(cfg.train_dataloader.dataset)
    batch = pseudo_collate([train_set[i] for i in range(2)])
    samples = batch['data_samples']
    assert all('heatmap_mask' in s.gt_fields for s in samples)
    losses = model.train_step(
        batch, build_optim_wrapper(model, cfg.optim_wrapper)
    )
    assert {k for k in losses if k.startswith('loss_')} == {
        'loss_heatmap',
        'loss_offset',
        'loss_oks',
        'loss_window',
    }
    assert losses['loss'].isfinite() and losses['loss'] > 0

    test_set = DATASETS.build(cfg.val_dataloader.dataset)
    model.eval()
    # Persons everywhere, and a flip test as the config has it. In double
    # precision, because untrained windows have peaks that are nearly equal,
    # of which the rounding of another batch size may choose another one.
    model.double()
    model.head.heatmap_branch[-1].bias.data.fill_(0.5)
    inputs = [test_set[i] for i in range(2)]
    with torch.no_grad():
        together = model.test_step(pseudo_collate(inputs))
        alone = [model.test_step(pseudo_collate([one]))[0] for one in inputs]
    for a, b in zip(together, alone):
        keypoints = a.pred_instances.keypoints
        assert len(keypoints) >= 1
        assert keypoints.shape[1:] == (17, 2)
        np.testing.assert_allclose(
            keypoints, b.pred_instances.keypoints, atol=1e-6
        )


# What a user's config adds for a transform: the one line that follows the
# base. `train_pipeline` is not the list that the data loader has.
USER_CONFIG = """
_base_ = 'mmpose::body_2d_keypoint/{base}.py'
custom_imports = dict(imports=['mmpose_ext'], allow_failed_imports=False)
{line}
train_dataloader = dict(dataset=dict(
    data_root='{data_root}',
    ann_file='annotations/person_keypoints_train.json',
    data_prefix=dict(img='train/')))
"""
PIPELINE = '_base_.train_dataloader.dataset.pipeline'
# By what is tested: the config, the line with a transform, and the line
# without. Ours replaces Albumentation, which RTMPose has third from the end
# and which needs another package, and before the crop those that draw after
# it, so that the targets can be compared.
HOSTS = {
    'heatmap': (
        'topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192',
        PIPELINE + '.insert(-2, {})',
        '',
    ),
    'whole image': (
        'topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192',
        PIPELINE + '[2:5] = [{}]',
        PIPELINE + '[2:5] = []',
    ),
    'UDP': (
        'topdown_heatmap/coco/td-hm_ViTPose-small_8xb64-210e_coco-256x192',
        PIPELINE + '.insert(-2, {})',
        '',
    ),
    'SimCC': (
        'rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192',
        PIPELINE + '[-3] = {}',
        PIPELINE + '.pop(-3)',
    ),
    'bottom-up': (
        'dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512',
        PIPELINE + '.insert(-3, {})',
        '',
    ),
}
TRANSFORMS = (
    "dict(type='Cutout')",
    "dict(type='BodyMasking', prob=1.0)",
    "dict(type='KeypointMasking', prob=1.0)",
    "dict(type='KeypointMasking', prob=1.0, size=8, fill='background')",
    "dict(type='ChannelPermutation', prob=1.0)",
)


@pytest.fixture
def load_user_config(toy_persons, tmp_path):
    def load(base, line):
        path = tmp_path / 'user_config.py'
        path.write_text(
            USER_CONFIG.format(base=base, line=line, data_root=toy_persons)
        )
        init_default_scope('mmpose')
        return Config.fromfile(path)

    return load


def first_samples(cfg):
    """The first sample, as it is augmented with three seeds."""
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    for seed in range(3):
        np.random.seed(seed)
        yield dataset[0]


def flatten(sample):
    """All tensors and arrays of a packed sample, by name."""
    data = sample['data_samples']
    parts = (data.gt_instances, data.gt_instance_labels, data.get('gt_fields'))
    return {
        key: np.asarray(value)
        for part in parts
        if part is not None
        for key, value in part.items()
    }


@pytest.mark.parametrize('host', HOSTS)
def test_transforms_change_the_image_and_no_target(host, load_user_config):
    base, line, without = HOSTS[host]
    plain_samples = [*first_samples(load_user_config(base, without))]
    for transform in TRANSFORMS:
        cfg = load_user_config(base, line.format(transform))
        changed = False
        for sample, plain in zip(first_samples(cfg), plain_samples):
            image, plain_image = sample['inputs'], plain['inputs']
            assert image.shape == plain_image.shape
            assert image.dtype == torch.uint8
            changed |= not torch.equal(image, plain_image)
            targets, plain_targets = flatten(sample), flatten(plain)
            assert targets.keys() == plain_targets.keys()
            for key, value in targets.items():
                np.testing.assert_array_equal(value, plain_targets[key])
        assert changed, transform


def test_transforms_take_keypoints_out_of_the_loss(load_user_config):
    base, line, without = HOSTS['heatmap']
    marking = "dict(type='BodyMasking', prob=1.0, mark_occluded=True)"
    marked, plain = (
        flatten(next(first_samples(load_user_config(base, line))))
        for line in (line.format(marking), without)
    )
    weights, plain = marked['keypoint_weights'], plain['keypoint_weights']
    assert (weights <= plain).all() and weights.sum() < plain.sum()


def test_rtmpose_trains_a_step(load_user_config):
    base, line, _ = HOSTS['SimCC']
    cfg = load_user_config(base, line.format(TRANSFORMS[1]))
    cfg.model.backbone.init_cfg = None
    cfg.model.backbone.norm_cfg = dict(type='BN')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    batch = pseudo_collate([dataset[0], dataset[1]])
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    losses = model.train_step(batch, optim_wrapper)
    assert losses['loss'].isfinite() and losses['loss'] > 0
