_base_ = 'mmpose::body_2d_keypoint/dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512.py'
custom_imports = dict(imports=['mmpose_ext'], allow_failed_imports=False)

# No warm-up and no weight decay.
param_scheduler = [
    dict(type='MultiStepLR', milestones=[90, 120], gamma=0.1, end=140)
]
auto_scale_lr = dict(base_batch_size=48)
randomness = dict(seed=0)
# The base's is for DEKR's rescoring network.
find_unused_parameters = False

center_offset = dict(
    type='CenterOffset', input_size=(512, 512), heatmap_size=(128, 128)
)
# DEKR's codec has settings that ours does not. `_delete_` would stay in the
# head's decoder and the encoder if they were given this dict.
codec = dict(center_offset, _delete_=True)
expansion = dict(
    type='KeypointExpansion', metainfo='configs/_base_/datasets/coco.py'
)
model = dict(
    head=dict(
        _delete_=True,
        type='LOGOCAPHead',
        in_channels=480,
        num_keypoints=17,
        heatmap_channels=32,
        decoder=center_offset,
        expansion=expansion,
    ),
    test_cfg=dict(_delete_=True, flip_test=True, nms_dist_thr=0.05),
)

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='BottomupShortSideAffine', input_size=center_offset['input_size']
    ),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='GenerateTarget', encoder=center_offset),
    dict(type='BottomupGridMask'),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='BottomupShortSideResize', input_size=center_offset['input_size']
    ),
    dict(
        type='PackPoseInputs',
        meta_keys=(
            *('id', 'img_id', 'img_path', 'crowd_index', 'ori_shape'),
            *('img_shape', 'input_size', 'input_center', 'input_scale'),
            *('flip', 'flip_direction', 'flip_indices', 'raw_ann_info'),
        ),
    ),
]
train_dataloader = dict(batch_size=12, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='EmptySafeCocoMetric')
test_evaluator = val_evaluator
