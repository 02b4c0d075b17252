# A small RAM + GPR network on the toy persons.
_base_ = [
    './ram-gpr_hrnet-w32_4xb8-240e_coco-256x192.py',
    '../_base_/toy_persons.py',
]

# SGDR with two cycles.
train_cfg = dict(max_epochs=15, val_interval=15)
param_scheduler = [
    dict(
        type='CosineRestartLR',
        periods=[5, 10],
        restart_weights=[1, 1],
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
randomness = dict(seed=0)
default_hooks = _base_.toy_hooks
custom_hooks = [*_base_.custom_hooks, *_base_.toy_custom_hooks]

# Cells of 4 px are coarse for persons so small: unbiased as in DarkPose, with
# a blur about as wide as sigma.
codec = dict(
    type='MSRAHeatmap',
    input_size=(96, 128),
    heatmap_size=(24, 32),
    sigma=1,
    unbiased=True,
    blur_kernel_size=5,
)
model = dict(
    backbone=dict(extra=_base_.toy_hrnet_w16, init_cfg=None),
    neck=dict(in_channels=[16, 32, 64, 128]),
    head=dict(in_channels=16, decoder=codec),
)

# Milder than for COCO, because so short a training does not overfit.
box = dict(
    type='RandomBBoxTransform',
    shift_prob=0,
    scale_factor=(0.8, 1.2),
    rotate_factor=20,
)
changes = dict(
    Cutout=dict(prob=0.3),
    TopdownAffine=dict(input_size=codec['input_size']),
    GenerateTarget=dict(encoder=codec),
)
train_pipeline = [
    box
    if step.type == 'ClippedBBoxTransform'
    else dict(step, **changes.get(step.type, {}))
    for step in _base_.train_pipeline
]
val_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.val_pipeline
]
data_root = _base_.toy_root
train_dataloader = dict(
    batch_size=8,
    dataset=dict(_base_.toy_train, pipeline=train_pipeline),
    **_base_.toy_loader,
)
val_dataloader = dict(
    batch_size=64,
    dataset=dict(_base_.toy_val, bbox_file=None, pipeline=val_pipeline),
    **_base_.toy_loader,
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=_base_.toy_val_file)
test_evaluator = val_evaluator
