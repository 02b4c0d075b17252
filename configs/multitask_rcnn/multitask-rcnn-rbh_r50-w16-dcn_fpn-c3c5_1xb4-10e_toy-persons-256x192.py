# A small network on the toy persons, from random weights. The norms in its FPN
# and keypoint head and the binary cross-entropy make it learn much faster.
_base_ = [
    './multitask-rcnn-rbh_r50-dcn_fpn-c3c5_4xb3-90k_coco.py',
    '../_base_/toy_persons.py',
]

norm_cfg = dict(type='BN')
# mmcv's operator takes too long on a CPU; this one has the same weights.
dcn = dict(type='SampledDCN')
roi_extractor = dict(
    out_channels=64,
    finest_scale=56,
    roi_layer=dict(sampling_ratio=1),  # RoIs are small, and so is the time
)
model = dict(
    backbone=dict(
        base_channels=16,
        dcn=dcn,
        frozen_stages=-1,
        norm_cfg=dict(requires_grad=True),
        norm_eval=False,
        zero_init_residual=False,
        init_cfg=None,
    ),
    neck=dict(
        in_channels=[128, 256, 512],
        out_channels=64,
        num_outs=4,
        norm_cfg=norm_cfg,
    ),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(strides=[8, 16, 32, 64]),
    ),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=dict(in_channels=64, fc_out_channels=256),
        mask_roi_extractor=roi_extractor,
        mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64),
        keypoint_roi_extractor=roi_extractor,
        keypoint_head=dict(
            in_channels=64,
            conv_channels=64,
            num_convs=3,
            conv_cfg=dcn,
            norm_cfg=norm_cfg,
            loss='bce',
            loss_weight=0.1,
            sigma=2.0,  # of 56 cells; learns in fewer epochs
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=500, max_per_img=100), rcnn=dict(max_per_img=20)
    ),
)

resize = dict(type='Resize', scale=(256, 192), keep_ratio=True)
train_pipeline = [
    resize if step.type == 'RandomChoiceResize' else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    resize if step.type == 'Resize' else step for step in _base_.test_pipeline
]
data_root = _base_.toy_root
train_dataloader = dict(
    batch_size=4,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        _base_.toy_train,
        filter_cfg=dict(min_size=0),
        pipeline=train_pipeline,
    ),
    **_base_.toy_loader,
)
val_dataloader = dict(
    batch_size=8,
    dataset=dict(_base_.toy_val, pipeline=test_pipeline),
    **_base_.toy_loader,
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(metric, ann_file=_base_.toy_val_file)
    for metric in _base_.val_evaluator
]
test_evaluator = val_evaluator

max_epochs = 10
train_cfg = dict(
    _delete_=True,
    type='EpochBasedTrainLoop',
    max_epochs=max_epochs,
    val_interval=max_epochs,
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.01),
    # Offsets that move too fast lose what the weights have learnt.
    paramwise_cfg=dict(
        dcn_offset_lr_mult=0.1,
        custom_keys={'offset_deconv': dict(lr_mult=0.1)},
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(_base_.toy_cosine, T_max=max_epochs),
]
auto_scale_lr = dict(base_batch_size=4)
randomness = dict(seed=0)
default_hooks = dict(
    _base_.toy_hooks,
    checkpoint=dict(_base_.toy_hooks.checkpoint, by_epoch=True),
)
custom_hooks = _base_.toy_custom_hooks
log_processor = dict(by_epoch=True)
