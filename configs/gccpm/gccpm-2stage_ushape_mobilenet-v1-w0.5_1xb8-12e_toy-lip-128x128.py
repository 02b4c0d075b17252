# A small 2-stage network on the crops of single persons that
# tools/make_toy_persons.py makes in LIP's layout, sized to train on two CPU
# cores.
_base_ = ['./gccpm-2stage_ushape_mobilenet-v1_1xb32-100e_lip-256x256.py']

# Too short a training for plateaus: half a cosine.
train_cfg = dict(max_epochs=12, val_interval=12)
optim_wrapper = dict(_delete_=True, optimizer=dict(type='Adam', lr=2e-3))
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=12,
        eta_min=1e-5,
        convert_to_iter_based=True,
    )
]
randomness = dict(seed=0)

# Every epoch can be resumed, with the random numbers it would have drawn.
default_hooks = dict(
    checkpoint=dict(
        max_keep_ckpts=2,
        save_best=None,
        backend_args=dict(backend='atomic'),
    ),
    logger=dict(interval=40),
)
custom_hooks = [*_base_.custom_hooks, dict(type='RandomStateHook')]

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

# Milder than for LIP, because so short a training does not overfit.
train_pipeline = _base_.train_pipeline
train_pipeline[5].update(scale_factor=(0.8, 1.2), rotate_factor=20)
train_pipeline[6].input_size = codec['input_size']
train_pipeline[7].encoder = codec
val_pipeline = _base_.val_pipeline
val_pipeline[2].input_size = codec['input_size']

data_root = 'data/toy_persons/lip/'
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=val_pipeline),
)
val_dataloader = test_dataloader
