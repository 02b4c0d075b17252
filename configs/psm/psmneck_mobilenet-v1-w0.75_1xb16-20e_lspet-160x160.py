# Pixel shuffle modules behind a small backbone, on photographs of single
# persons in sport. Heatmaps have half of the size of the input.
_base_ = ['mmpose::_base_/default_runtime.py', '../_base_/lspet.py']
custom_imports = dict(imports=['mmpose_ext'], allow_failed_imports=False)

train_cfg = dict(max_epochs=20, val_interval=1)
optim_wrapper = _base_.posenet_optim
param_scheduler = [dict(_base_.lspet_cosine, T_max=20)]
randomness = dict(seed=0)
default_hooks = _base_.lspet_hooks
custom_hooks = [*_base_.custom_hooks, *_base_.lspet_custom_hooks]

codec = dict(
    type='MSRAHeatmap', input_size=(160, 160), heatmap_size=(80, 80), sigma=3
)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=_base_.posenet_preprocessor,
    backbone=dict(
        _base_.posenet_trunk, out_indices=(0, 1, 2, 3), output_stride=16
    ),
    neck=dict(type='PSMNeck', in_channels=[48, 96, 192, 384]),
    head=dict(
        type='HeatmapHead',
        in_channels=48,
        out_channels=14,
        deconv_out_channels=None,
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=codec,
    ),
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True),
)

# MMPose's inferencer asks for these two.
dataset_type, data_mode = 'LSPDataset', 'topdown'
affine = dict(type='TopdownAffine', input_size=codec['input_size'])
train_pipeline = [
    *_base_.lspet_augment,
    affine,
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [*_base_.lspet_load, affine, dict(type='PackPoseInputs')]

train_dataloader = dict(
    _base_.lspet_train_loader,
    dataset=dict(_base_.lspet_train, pipeline=train_pipeline),
)
test_dataloader = dict(
    _base_.lspet_test_loader,
    dataset=dict(_base_.lspet_val, pipeline=val_pipeline),
)
val_dataloader = test_dataloader
val_evaluator = _base_.lspet_metric
test_evaluator = val_evaluator
