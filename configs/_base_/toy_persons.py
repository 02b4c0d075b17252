# What the configs of the synthetic persons of tools/make_toy_persons.py share,
# which are sized to train on two CPU cores. A base cannot change what another
# base has, so these are variables, for the configs to put in their places.

toy_root = 'data/toy_persons/'
toy_train = dict(
    data_root=toy_root,
    ann_file='annotations/person_keypoints_train.json',
    data_prefix=dict(img='train/'),
)
toy_val = dict(
    data_root=toy_root,
    ann_file='annotations/person_keypoints_val.json',
    data_prefix=dict(img='val/'),
)
toy_val_file = toy_root + toy_val['ann_file']
toy_loader = dict(num_workers=0, persistent_workers=False)

# Too short a training for plateaus and steps: half a cosine.
toy_cosine = dict(
    type='CosineAnnealingLR',
    eta_min=1e-5,
    by_epoch=True,
    convert_to_iter_based=True,
)

# Every epoch can be resumed, with the random numbers it would have drawn.
toy_hooks = dict(
    checkpoint=dict(
        interval=1,
        max_keep_ckpts=2,
        save_best=None,
        backend_args=dict(backend='atomic'),
    ),
    logger=dict(interval=20),
)
toy_custom_hooks = [dict(type='RandomStateHook')]

# The stages of an HRNet-W16 with as few blocks as there can be.
toy_hrnet_w16 = dict(
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
)
