# A small network on the synthetic persons of tools/make_toy_persons.py, sized
# to train on two CPU cores.
_base_ = ['./logocap_hrnet-w32_4xb12-140e_coco-512x512.py']

train_cfg = dict(max_epochs=20, val_interval=20)
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=20,
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
auto_scale_lr = dict(base_batch_size=4)

# Every epoch can be resumed, with the random numbers it would have drawn.
default_hooks = dict(
    checkpoint=dict(
        interval=1,
        max_keep_ckpts=2,
        save_best=None,
        backend_args=dict(backend='atomic'),
    ),
    logger=dict(interval=40),
)
custom_hooks = [*_base_.custom_hooks, dict(type='RandomStateHook')]

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

# Milder than for COCO, because so short a training does not overfit.
train_pipeline = _base_.train_pipeline
train_pipeline[1].update(
    input_size=codec['input_size'],
    scale_factor=(0.8, 1.2),
    rotate_factor=20,
)
train_pipeline[3].encoder = codec
val_pipeline = _base_.val_pipeline
val_pipeline[1].input_size = codec['input_size']

data_root = 'data/toy_persons/'
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    ),
)
# The images have one size, so that batches of them can be flipped.
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/person_keypoints_val.json',
        data_prefix=dict(img='val/'),
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=data_root + 'annotations/person_keypoints_val.json'
)
test_evaluator = val_evaluator
