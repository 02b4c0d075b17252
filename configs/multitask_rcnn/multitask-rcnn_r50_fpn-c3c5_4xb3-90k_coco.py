# Mask R-CNN with a keypoint head beside its heads of boxes and masks, for
# persons: the network without refinement ("regular", tables 3 to 5).
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(
    imports=['mmpose_ext.multitask'], allow_failed_imports=False
)

# Multi-scale FPN: of conv3 to conv5, as the paper has it, so there is no map
# of stride 4. P6 and P7 are for the proposals alone.
roi_strides = [8, 16, 32]
roi_extractor = dict(
    type='SingleRoIExtractor',
    roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
    out_channels=256,
    featmap_strides=roi_strides,
    finest_scale=112,  # RoIs up to twice this size (px) go to stride 8
)
model = dict(
    # Of the Caffe weights: BGR, no division.
    data_preprocessor=dict(
        mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
    ),
    backbone=dict(
        out_indices=(1, 2, 3),
        norm_cfg=dict(requires_grad=False),
        style='caffe',
        init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet50_caffe'),
    ),
    neck=dict(in_channels=[512, 1024, 2048]),
    rpn_head=dict(
        anchor_generator=dict(scales=[4], strides=[8, 16, 32, 64, 128])
    ),
    roi_head=dict(
        type='MultiTaskRoIHead',
        bbox_roi_extractor=dict(featmap_strides=roi_strides, finest_scale=112),
        bbox_head=dict(
            num_classes=1,
            # As Detectron2's Keypoint R-CNN, which the paper builds upon.
            loss_bbox=dict(type='SmoothL1Loss', beta=0.5, _delete_=True),
        ),
        mask_roi_extractor=roi_extractor,
        mask_head=dict(num_classes=1),
        keypoint_roi_extractor=roi_extractor,
        keypoint_head=dict(type='OffsetKeypointHead', heatmap_refine=False),
    ),
    # As Detectron2's Keypoint R-CNN.
    train_cfg=dict(
        rpn_proposal=dict(max_per_img=1500),
        rcnn=dict(assigner=dict(match_low_quality=False)),
    ),
)

# One file has the boxes, masks and keypoints of COCO's persons.
dataset_type = 'CocoPersonDataset'
data_root = 'data/coco/'
load = [dict(type='LoadImageFromFile')]
train_pipeline = [
    *load,
    dict(type='LoadMultiTaskAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, side) for side in range(640, 801, 32)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='WarpKeypoints'),
    dict(type='FilterMultiTask'),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    *load,
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(
        type='PackMultiTaskInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
        ),
    ),
]
train_dataloader = dict(
    batch_size=3,
    num_workers=3,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32, min_keypoints=1),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/person_keypoints_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_ann_file = data_root + 'annotations/person_keypoints_val2017.json'
val_evaluator = [
    dict(type='CocoMetric', ann_file=val_ann_file, metric=['bbox', 'segm']),
    dict(type='CocoKeypointMetric', ann_file=val_ann_file),
]
test_evaluator = val_evaluator

# Section 4.1. The learning rate is twice what is usual for 12 images, hence
# the clipping of gradients, which the paper does not speak of.
max_iters = 90000
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10000
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000
    ),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[60000, 80000],
        gamma=0.1,
    ),
]
auto_scale_lr = dict(base_batch_size=12)

visualizer = dict(type='MultiTaskVisualizer')
default_hooks = dict(
    checkpoint=dict(
        by_epoch=False,
        interval=10000,
        max_keep_ckpts=2,
        save_best='coco/keypoints_mAP',
        rule='greater',
    )
)
log_processor = dict(by_epoch=False)
