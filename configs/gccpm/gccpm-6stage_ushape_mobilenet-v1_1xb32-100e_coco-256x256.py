_base_ = ['./gccpm-6stage_ushape_mobilenet-v1_1xb32-100e_lip-256x256.py']

default_hooks = dict(checkpoint=dict(save_best='coco/AP'))
param_scheduler = [
    dict(_base_.plateau, monitor='coco/AP', rule='greater', threshold=1e-3)
]

model = dict(head=dict(out_channels=18))

# Persons are cropped out of images with others, so the body mask is drawn
# after the affine transform: its size is that of the crop.
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    _base_.box_transform,
    _base_.affine,
    dict(type='BodyMasking'),
    dict(type='ChannelPermutation'),
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    _base_.affine,
    dict(type='PackPoseInputs'),
]

dataset_type = 'CocoDataset'
data_root = 'data/coco/'
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=train_pipeline,
    )
)
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/person_keypoints_val2017.json',
        data_prefix=dict(img='val2017/'),
        pipeline=val_pipeline,
    )
)
val_dataloader = dict(dataset=dict(**test_dataloader['dataset'], indices=None))
val_evaluator = dict(
    _delete_=True,
    type='CocoMetric',
    ann_file=data_root + 'annotations/person_keypoints_val2017.json',
)
test_evaluator = val_evaluator
