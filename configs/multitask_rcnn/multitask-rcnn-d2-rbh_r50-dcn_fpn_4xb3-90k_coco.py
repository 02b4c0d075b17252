# The full model with Detectron2's FPN of conv2 to conv5.
_base_ = ['./multitask-rcnn-rbh_r50-dcn_fpn-c3c5_4xb3-90k_coco.py']

roi_extractor = dict(featmap_strides=[4, 8, 16, 32], finest_scale=56)
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
    rpn_head=dict(
        anchor_generator=dict(scales=[8], strides=[4, 8, 16, 32, 64])
    ),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        mask_roi_extractor=roi_extractor,
        keypoint_roi_extractor=roi_extractor,
    ),
)
