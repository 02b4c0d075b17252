# A small network on the toy persons.
_base_ = [
    './logocap_hrnet-w32_4xb12-140e_coco-512x512.py',
    '../_base_/toy_persons.py',
]

train_cfg = dict(max_epochs=20, val_interval=20)
param_scheduler = [dict(_base_.toy_cosine, T_max=20)]
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(_base_.toy_hooks, logger=dict(interval=40))
custom_hooks = [*_base_.custom_hooks, *_base_.toy_custom_hooks]

# The persons are a fraction of those that COCO's images have at 512 px, and so
# are the Gaussians, the windows and the least area.
codec = dict(
    type='CenterOffset',
    input_size=(192, 192),
    heatmap_size=(48, 48),
    sigma=(3, 1.5),
    min_area=16**2,
)
model = dict(
    backbone=dict(extra=_base_.toy_hrnet_w16, init_cfg=None),
    head=dict(
        in_channels=240,
        offset_channels=64,
        embedding_channels=8,
        refinement_channels=(64, 64, 64),
        # So short a training learns the offsets by a higher weight.
        offset_loss=dict(
            type='SoftWeightSmoothL1Loss',
            use_target_weight=True,
            supervise_empty=False,
            beta=1 / 9,
            loss_weight=0.05,
        ),
        window_radius=16,
        window_sigma=8,
        target_sigma=2,
        decoder=codec,
    ),
)

changes = dict(
    # Milder than for COCO, because so short a training does not overfit.
    BottomupShortSideAffine=dict(
        input_size=codec['input_size'],
        scale_factor=(0.8, 1.2),
        rotate_factor=20,
    ),
    BottomupShortSideResize=dict(input_size=codec['input_size']),
    GenerateTarget=dict(encoder=codec),
)
train_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.train_pipeline
]
val_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.val_pipeline
]
data_root = _base_.toy_root
train_dataloader = dict(
    batch_size=4,
    dataset=dict(_base_.toy_train, pipeline=train_pipeline),
    **_base_.toy_loader,
)
# The images have one size, so that batches of them can be flipped.
val_dataloader = dict(
    batch_size=8,
    dataset=dict(_base_.toy_val, pipeline=val_pipeline),
    **_base_.toy_loader,
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=_base_.toy_val_file)
test_evaluator = val_evaluator
