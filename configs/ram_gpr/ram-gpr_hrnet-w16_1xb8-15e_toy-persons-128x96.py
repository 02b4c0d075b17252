# A small RAM + GPR network on the synthetic persons of
# tools/make_toy_persons.py, sized to train on two CPU cores.
_base_ = ['./ram-gpr_hrnet-w32_4xb8-240e_coco-256x192.py']

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

# Every epoch can be resumed, with the random numbers it would have drawn.
default_hooks = dict(
    checkpoint=dict(
        interval=1,
        max_keep_ckpts=2,
        save_best=None,
        backend_args=dict(backend='atomic'),
    ),
    logger=dict(interval=20),
)
custom_hooks = [*_base_.custom_hooks, dict(type='RandomStateHook')]

codec = dict(
    type='MSRAHeatmap', input_size=(96, 128), heatmap_size=(24, 32), sigma=1
)

model = dict(
    backbone=dict(
        extra=dict(
            stage1=dict(num_blocks=(1,), num_channels=(16,)),
            stage2=dict(num_blocks=(1, 1), num_channels=(16, 32)),
            stage3=dict(
                num_modules=1,
                num_blocks=(1, 1, 1),
                num_channels=(16, 32, 64),
            ),
            stage4=dict(
                num_modules=1,
                num_blocks=(1, 1, 1, 1),
                num_channels=(16, 32, 64, 128),
            ),
        ),
        init_cfg=None,
    ),
    neck=dict(in_channels=[16, 32, 64, 128]),
    head=dict(in_channels=16, decoder=codec),
)

data_root = 'data/toy_persons/'
train_pipeline = _base_.train_pipeline
# Milder than for COCO, because so short a training does not overfit.
train_pipeline[3] = dict(
    type='RandomBBoxTransform',
    shift_prob=0,
    scale_factor=(0.8, 1.2),
    rotate_factor=20,
)
train_pipeline[5].prob = 0.3
train_pipeline[4].input_size = codec['input_size']
train_pipeline[6].encoder = codec
val_pipeline = _base_.val_pipeline
val_pipeline[2].input_size = codec['input_size']

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/person_keypoints_val.json',
        bbox_file=None,
        data_prefix=dict(img='val/'),
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=data_root + 'annotations/person_keypoints_val.json'
)
test_evaluator = val_evaluator
