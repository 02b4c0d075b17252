# What the configs on Leeds Sports Pose Extended share, which are sized to
# train on two CPU cores. A base cannot change what another base has, so these
# are variables, for the configs to put in their places.
# How to get the data: docs/photographs.md.

lspet_root = 'data/lspet/'
lspet_train = dict(
    type='LSPDataset',
    data_root=lspet_root,
    ann_file='train.json',
    data_prefix=dict(img='images/'),
)
lspet_val = dict(lspet_train, ann_file='val.json', test_mode=True)
# Workers live for an epoch, so that a resumed training draws as it would have.
lspet_loader = dict(num_workers=2, persistent_workers=False)
lspet_train_loader = dict(
    batch_size=16,
    sampler=dict(type='DefaultSampler', shuffle=True),
    **lspet_loader,
)
lspet_test_loader = dict(
    batch_size=64,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    **lspet_loader,
)

# The trunk of PoseNet, whose norms are folded. Where its file is missing, a
# training ends at once and says how it is made.
posenet_weights = 'data/posenet/mobilenet-v1-w0.75.pth'
made_by = {
    posenet_weights: 'python tools/converters/posenet.py POSENET.json '
    + posenet_weights
}
posenet_preprocessor = dict(
    type='PoseDataPreprocessor',
    mean=[127.5, 127.5, 127.5],
    std=[127.5, 127.5, 127.5],
    bgr_to_rgb=True,
)
posenet_trunk = dict(
    type='MobileNetV1',
    widen_factor=0.75,
    act_cfg=dict(type='ReLU6'),
    norm_eval=True,
    init_cfg=dict(
        type='Pretrained',
        checkpoint=posenet_weights,
        prefix='backbone.',
    ),
)
# The trunk keeps most of what it knows.
posenet_optim = dict(
    optimizer=dict(type='Adam', lr=1.5e-3),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.2))),
)

lspet_metric = dict(
    type='KeypointPCK',
    keypoints=[
        f'{side}_{part}'
        for part in ('ankle', 'knee', 'hip', 'wrist', 'elbow', 'shoulder')
        for side in ('right', 'left')
    ],
)

# Milder than for COCO, because so short a training does not overfit; but
# gymnasts are often upside down.
lspet_box_transform = dict(
    type='RandomBBoxTransform',
    shift_factor=0.1,
    shift_prob=0.5,
    scale_factor=(0.75, 1.25),
    rotate_factor=60,
    rotate_prob=0.8,
)
# Before the crop, which has the size of the network's input.
lspet_load = [dict(type='LoadImage'), dict(type='GetBBoxCenterScale')]
lspet_augment = [
    *lspet_load,
    dict(type='RandomFlip', direction='horizontal'),
    lspet_box_transform,
]

lspet_cosine = dict(
    type='CosineAnnealingLR',
    eta_min=0,
    by_epoch=True,
    convert_to_iter_based=True,
)

# Every epoch can be resumed, with the random numbers it would have drawn.
lspet_hooks = dict(
    checkpoint=dict(
        interval=1,
        max_keep_ckpts=1,
        save_best=None,
        backend_args=dict(backend='atomic'),
    ),
    logger=dict(interval=50),
)
lspet_custom_hooks = [dict(type='RandomStateHook')]
