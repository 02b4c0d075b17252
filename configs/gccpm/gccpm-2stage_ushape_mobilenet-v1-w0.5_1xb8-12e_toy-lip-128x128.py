# A small 2-stage network on the crops of single persons that
# tools/make_toy_persons.py makes in LIP's layout.
_base_ = [
    './gccpm-2stage_ushape_mobilenet-v1_1xb32-100e_lip-256x256.py',
    '../_base_/toy_persons.py',
]

train_cfg = dict(max_epochs=12, val_interval=12)
optim_wrapper = dict(_delete_=True, optimizer=dict(type='Adam', lr=2e-3))
param_scheduler = [dict(_base_.toy_cosine, T_max=12)]
randomness = dict(seed=0)
default_hooks = dict(_base_.toy_hooks, logger=dict(interval=40))
custom_hooks = [*_base_.custom_hooks, *_base_.toy_custom_hooks]

codec = dict(
    type='BackgroundHeatmap',
    input_size=(128, 128),
    heatmap_size=(16, 16),
    sigma=8,
)
model = dict(
    backbone=dict(widen_factor=0.5),
    head=dict(
        in_channels=256,
        feat_channels=32,
        reduction_channels=64,
        initial_channels=128,
        decoder=codec,
    ),
)

changes = dict(
    # Milder than for LIP, because so short a training does not overfit.
    RandomBBoxTransform=dict(scale_factor=(0.8, 1.2), rotate_factor=20),
    PaddedTopdownAffine=dict(input_size=codec['input_size']),
    GenerateTarget=dict(encoder=codec),
)
train_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.train_pipeline
]
val_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.val_pipeline
]

data_root = _base_.toy_root + 'lip/'
train_dataloader = dict(
    batch_size=8,
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
    **_base_.toy_loader,
)
test_dataloader = dict(
    batch_size=64,
    dataset=dict(data_root=data_root, pipeline=val_pipeline),
    **_base_.toy_loader,
)
val_dataloader = test_dataloader
