_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_hrnet-w32_8xb64-210e_coco-256x192.py'
]
custom_imports = dict(imports=['mmpose_ext'], allow_failed_imports=False)

# SGDR (T0 = 16 epochs, Tmult = 2): restarts at epochs 16, 48 and 112. The
# paper names neither the optimizer (Adam, as in HRNet) nor the length. Its
# batch size of 32 is taken for that of all four GPUs.
train_cfg = dict(max_epochs=240)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [
    dict(
        type='CosineRestartLR',
        periods=[16, 32, 64, 128],
        restart_weights=[1, 1, 1, 1],
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
auto_scale_lr = dict(base_batch_size=32)

model = dict(
    backbone=dict(
        type='RAMHRNet', extra=dict(stage4=dict(multiscale_output=True))
    ),
    neck=dict(type='GPRNeck', in_channels=[32, 64, 128, 256]),
    head=dict(final_layer=dict(kernel_size=3, padding=1)),
)

# Scale +-35 %, rotation +-45 degrees and flip "the same as" HRNet's, and
# cutout (section 4.3): no shift and no half-body crop. HRNet's training draws
# as ClippedBBoxTransform does, rotations in 60 % of the images.
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(
        type='ClippedBBoxTransform',
        scale_factor=(0.65, 1.35),
        rotate_factor=45,
        rotate_prob=0.6,
    ),
    dict(type='TopdownAffine', input_size=_base_.codec.input_size),
    dict(type='Cutout', num_holes=1, size=(0.25, 0.5)),
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
