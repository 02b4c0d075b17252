# A plan of tools/ablation.py: necks behind the trunk of PoseNet, on
# photographs of single persons in sport.
#
# Equal in all variants: trunk, data, augmentation and training, 48 channels of
# the maps that a neck takes, and heatmaps of a quarter of the input's size,
# but for the last variant: half of it, as PSM's report has it.
# Not equal: without a pyramid, the necks see the trunk's last map alone; 0.98
# to 1.23 M parameters, but 1.88 M with context, and 0.12 to 0.21 GMACs.
_base_ = ['mmpose::_base_/default_runtime.py', '../../_base_/lspet.py']
custom_imports = dict(imports=['mmpose_ext'], allow_failed_imports=False)

train_cfg = dict(max_epochs=5)
val_cfg = val_dataloader = val_evaluator = None
optim_wrapper = _base_.posenet_optim
param_scheduler = [dict(_base_.lspet_cosine, T_max=5)]
default_hooks = _base_.lspet_hooks
custom_hooks = [*_base_.custom_hooks, *_base_.lspet_custom_hooks]

codec = dict(
    type='MSRAHeatmap', input_size=(128, 128), heatmap_size=(32, 32), sigma=1.5
)
mapper = dict(
    type='ChannelMapper',
    in_channels=[384],
    out_channels=48,
    kernel_size=1,
    norm_cfg=dict(type='BN'),
)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=_base_.posenet_preprocessor,
    backbone=dict(_base_.posenet_trunk, out_indices=(3,), output_stride=16),
    neck=dict(type='SequentialNeck', necks=[mapper]),
    head=dict(
        type='HeatmapHead',
        in_channels=48,
        out_channels=14,
        deconv_out_channels=(96, 96),
        deconv_kernel_sizes=(4, 4),
        final_layer=dict(kernel_size=3, padding=1),
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=codec,
    ),
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True),
)

load = [dict(type='LoadImage'), dict(type='GetBBoxCenterScale')]
affine = dict(type='TopdownAffine', input_size=codec['input_size'])
pack = dict(type='PackPoseInputs')
augmented = [
    *load,
    dict(type='RandomFlip', direction='horizontal'),
    _base_.lspet_box_transform,
    affine,
]
# Loading in the one thread of a run, which a second run beside it would take.
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(
    batch_size=16,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        _base_.lspet_train,
        pipeline=[
            *augmented,
            dict(type='GenerateTarget', encoder=codec),
            pack,
        ],
    ),
    **loader,
)
test_dataloader = dict(
    batch_size=64,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(_base_.lspet_val, pipeline=[*load, affine, pack]),
    **loader,
)
test_evaluator = _base_.lspet_metric

context = dict(
    type='ContextNeck', in_channels=48, context=dict(type='UShapedContext')
)
# The last maps of the trunk, from high to low.
pyramid = dict(mapper, in_channels=[96, 192, 384])
widths = [48, 48, 48]
gpr = dict(type='GPRNeck', in_channels=widths)
pyramids = {
    'GPR': [pyramid, gpr],
    'RAM + GPR': [pyramid, dict(type='RAMNeck', in_channels=widths), gpr],
    'PSM': [pyramid, dict(type='PSMNeck', in_channels=widths)],
}
half = dict(codec, heatmap_size=(64, 64), sigma=3)
ablation = dict(
    seeds=[0, 1, 2],
    metrics={f'PCK@{thr}': f'PCK@{thr}' for thr in (0.05, 0.1, 0.2)},
    baseline='deconvolution',
    variants={
        'deconvolution': {},
        'U-shaped context, deconvolution': {
            'model.neck.necks': [mapper, context]
        },
        **{
            name: {
                'model.backbone.out_indices': (1, 2, 3),
                'model.neck.necks': necks,
                'model.head.deconv_out_channels': None,
            }
            for name, necks in pyramids.items()
        },
        'PSM, heatmaps of half the size': {
            'model.backbone.out_indices': (0, 1, 2, 3),
            'model.neck.necks': [
                dict(mapper, in_channels=[48, 96, 192, 384]),
                dict(type='PSMNeck', in_channels=[48, *widths]),
            ],
            'model.head.deconv_out_channels': None,
            'model.head.decoder': half,
            'train_dataloader.dataset.pipeline': [
                *augmented,
                dict(type='GenerateTarget', encoder=half),
                pack,
            ],
        },
    },
)
