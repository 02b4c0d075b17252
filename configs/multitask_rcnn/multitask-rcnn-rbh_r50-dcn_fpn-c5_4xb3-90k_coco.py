# The full model with a single-scale FPN (table 2): one map, of conv5, and all
# anchors on it.
_base_ = ['./multitask-rcnn-rbh_r50-dcn_fpn-c3c5_4xb3-90k_coco.py']

roi_extractor = dict(featmap_strides=[32])
model = dict(
    backbone=dict(out_indices=(3,)),
    neck=dict(in_channels=[2048], num_outs=1),
    rpn_head=dict(
        anchor_generator=dict(scales=[1, 2, 4, 8, 16], strides=[32])
    ),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        mask_roi_extractor=roi_extractor,
        keypoint_roi_extractor=roi_extractor,
    ),
)
