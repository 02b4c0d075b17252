_base_ = ['./logocap_hrnet-w32_4xb12-140e_coco-512x512.py']

auto_scale_lr = dict(base_batch_size=96)

codec = dict(
    type='CenterOffset', input_size=(640, 640), heatmap_size=(160, 160)
)
model = dict(
    backbone=dict(
        extra=dict(
            stage2=dict(num_channels=(48, 96)),
            stage3=dict(num_channels=(48, 96, 192)),
            stage4=dict(num_channels=(48, 96, 192, 384)),
        ),
        init_cfg=dict(
            checkpoint='https://download.openmmlab.com/mmpose/'
            'pretrain_models/hrnet_w48-8ef0771d.pth'
        ),
    ),
    head=dict(in_channels=720, heatmap_channels=48, decoder=codec),
)

changes = dict(
    BottomupShortSideAffine=dict(input_size=codec['input_size']),
    BottomupShortSideResize=dict(input_size=codec['input_size']),
    GenerateTarget=dict(encoder=codec),
)
train_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.train_pipeline
]
val_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.val_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
