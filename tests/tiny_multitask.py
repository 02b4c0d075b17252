"""A multi-task R-CNN with few channels, at half the size of toy persons."""

_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'
default_scope = 'mmdet'
custom_imports = dict(
    imports=['mmpose_ext.multitask'], allow_failed_imports=False
)
roi_extractor = dict(out_channels=16)
model = dict(
    backbone=dict(base_channels=8, zero_init_residual=False, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        type='MultiTaskRoIHead',
        bbox_roi_extractor=roi_extractor,
        bbox_head=dict(in_channels=16, fc_out_channels=16, num_classes=1),
        mask_roi_extractor=roi_extractor,
        mask_head=dict(
            num_convs=1, in_channels=16, conv_out_channels=16, num_classes=1
        ),
        keypoint_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            out_channels=16,
            featmap_strides=[4, 8, 16, 32],
        ),
        keypoint_head=dict(
            type='OffsetKeypointHead',
            in_channels=16,
            conv_channels=16,
            num_convs=2,
        ),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=50, max_per_img=20), rcnn=dict(max_per_img=10)
    ),
)
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        type='CocoPersonDataset',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(128, 96), keep_ratio=True),
            dict(
                type='PackMultiTaskInputs',
                meta_keys=('img_id', 'ori_shape', 'img_shape', 'scale_factor'),
            ),
        ],
    ),
)
