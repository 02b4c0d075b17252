# A small PSM network on the toy persons.
_base_ = [
    './psm_hrnet-w48_8xb32-210e_coco-384x288.py',
    '../_base_/toy_persons.py',
]

train_cfg = dict(max_epochs=10, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [dict(_base_.toy_cosine, T_max=10, eta_min=0)]
auto_scale_lr = dict(base_batch_size=8)
randomness = dict(seed=0)
default_hooks = _base_.toy_hooks
custom_hooks = [*_base_.custom_hooks, *_base_.toy_custom_hooks]

codec = dict(
    type='MSRAHeatmap', input_size=(96, 128), heatmap_size=(48, 64), sigma=2
)
model = dict(
    backbone=dict(
        extra={  # half the channels make a W8 of the W16
            name: dict(
                stage, num_channels=tuple(c // 2 for c in stage.num_channels)
            )
            for name, stage in _base_.toy_hrnet_w16.items()
        },
        init_cfg=None,
    ),
    head=dict(in_channels=8, decoder=codec),
)

changes = dict(
    # Milder than for COCO, because so short a training does not overfit.
    RandomHalfBody=dict(prob=0),
    RandomBBoxTransform=dict(scale_factor=(0.8, 1.2), rotate_factor=20),
    TopdownAffine=dict(input_size=codec['input_size']),
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
