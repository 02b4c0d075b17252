# A 2-stage network on photographs of single persons in sport. Its widths fit
# into the package.
_base_ = [
    './gccpm-2stage_ushape_mobilenet-v1_1xb32-100e_lip-256x256.py',
    '../_base_/lspet.py',
]

train_cfg = dict(max_epochs=30, val_interval=1)
optim_wrapper = dict(_delete_=True, **_base_.posenet_optim)
param_scheduler = [dict(_base_.lspet_cosine, T_max=30)]
randomness = dict(seed=0)
default_hooks = _base_.lspet_hooks
custom_hooks = [*_base_.custom_hooks, *_base_.lspet_custom_hooks]

codec = dict(
    type='BackgroundHeatmap',
    input_size=(160, 160),
    heatmap_size=(20, 20),
    sigma=8,
)
model = dict(
    data_preprocessor=_base_.posenet_preprocessor,
    backbone=_base_.posenet_trunk,
    head=dict(
        in_channels=384,
        out_channels=15,
        feat_channels=40,
        initial_channels=96,
        reduction_channels=96,
        use_target_weight=True,
        decoder=codec,
    ),
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=False),
)

dataset_type = 'LSPDataset'
affine = dict(_base_.affine, input_size=codec['input_size'])
train_pipeline = [
    *_base_.lspet_augment,
    affine,
    dict(type='BodyMasking'),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [*_base_.lspet_load, affine, dict(type='PackPoseInputs')]

train_dataloader = dict(
    _base_.lspet_train_loader,
    dataset=dict(_delete_=True, **_base_.lspet_train, pipeline=train_pipeline),
)
test_dataloader = dict(
    _base_.lspet_test_loader,
    dataset=dict(_delete_=True, **_base_.lspet_val, pipeline=val_pipeline),
)
val_dataloader = test_dataloader
val_evaluator = dict(_delete_=True, **_base_.lspet_metric)
test_evaluator = val_evaluator
