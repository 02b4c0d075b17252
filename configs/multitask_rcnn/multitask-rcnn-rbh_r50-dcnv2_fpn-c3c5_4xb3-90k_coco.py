# The full model with modulated deformable convolutions (DCNv2) in the place of
# equation 5's.
_base_ = ['./multitask-rcnn-rbh_r50-dcn_fpn-c3c5_4xb3-90k_coco.py']

model = dict(
    backbone=dict(dcn=dict(type='DCNv2')),
    roi_head=dict(keypoint_head=dict(conv_cfg=dict(type='DCNv2'))),
)
