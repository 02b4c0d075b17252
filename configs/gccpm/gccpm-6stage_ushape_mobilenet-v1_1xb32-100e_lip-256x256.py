_base_ = ['mmpose::_base_/default_runtime.py']
custom_imports = dict(imports=['mmpose_ext'], allow_failed_imports=False)

# At most 100 epochs; the learning rates drop by ten, twice, where 100 - PCKh
# of the first 1000 validation images no longer falls by one percent of itself
# within five epochs. eps ends it: the second drops, of 4e-6 and more, are
# larger, the third ones smaller. It does not scale with --auto-scale-lr.
train_cfg = dict(max_epochs=100, val_interval=1)
# As in the published training: weight decay for the convolutions that are not
# depthwise, a higher learning rate for biases (x2) and for the convolutions
# of the refinement stages (x4; without such stages, leave that pattern out).
optim_wrapper = dict(
    constructor='PatternOptimWrapperConstructor',
    optimizer=dict(type='Adam', lr=4e-5, weight_decay=5e-4),
    paramwise_cfg=dict(
        norm_decay_mult=0,
        dwconv_decay_mult=0,
        patterns=[
            dict(regex=r'\.bias$', lr_mult=2, decay_mult=0),
            dict(regex=r'\.refinement_stages\..*\.(conv|out)\.', lr_mult=4),
        ],
    ),
)
plateau = dict(
    type='ReduceOnPlateauLR',
    monitor='lip/error',
    rule='less',
    factor=0.1,
    patience=5,
    threshold=1e-2,
    threshold_rule='rel',
    eps=3.2e-6,
)
param_scheduler = [plateau]
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(
    checkpoint=dict(
        interval=1, max_keep_ckpts=2, save_best='lip/PCKh', rule='greater'
    )
)

# sigma is in pixels of the input.
codec = dict(
    type='BackgroundHeatmap',
    input_size=(256, 256),
    heatmap_size=(32, 32),
    sigma=7,
)

# ImageNet weights: tools/converters/gccpm.py --backbone.
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='PoseDataPreprocessor',
        mean=[128, 128, 128],
        std=[256, 256, 256],
        bgr_to_rgb=False,
    ),
    backbone=dict(type='MobileNetV1', out_indices=(3,), output_stride=8),
    head=dict(
        type='GCCPMHead',
        in_channels=512,
        out_channels=17,
        num_stages=6,
        context=dict(type='UShapedContext'),
        decoder=codec,
    ),
    test_cfg=dict(flip_test=False),
)

# The longest side becomes 256, the rest is filled with 128.
affine = dict(
    type='PaddedTopdownAffine',
    input_size=codec['input_size'],
    border_value=128,
)
box_transform = dict(
    type='RandomBBoxTransform',
    shift_prob=0,
    scale_factor=(0.75, 1.25),
    rotate_factor=40,
    rotate_prob=1,
)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='BodyMasking'),
    dict(type='ChannelPermutation'),
    dict(type='GetBBoxCenterScale', padding=1.0),
    dict(type='RandomFlip', direction='horizontal'),
    box_transform,
    affine,
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale', padding=1.0),
    affine,
    dict(type='PackPoseInputs'),
]

# MMPose's inferencer asks for these two.
data_mode = 'topdown'
dataset_type = 'LIPDataset'
data_root = 'data/lip/'
train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='TrainVal_pose_annotations/lip_train_set.csv',
        data_prefix=dict(img='TrainVal_images/train_images/'),
        pipeline=train_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='TrainVal_pose_annotations/lip_val_set.csv',
        data_prefix=dict(img='TrainVal_images/val_images/'),
        test_mode=True,
        pipeline=val_pipeline,
    ),
)
val_dataloader = dict(
    test_dataloader, dataset=dict(test_dataloader['dataset'], indices=1000)
)
val_evaluator = dict(type='LIPPCKh')
test_evaluator = val_evaluator
