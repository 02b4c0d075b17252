# Refinement in the backbone ("RB", tables 3 to 5): the 3x3 convolutions of
# conv3 to conv5 are deformable (equation 5, without DCNv2's modulation).
_base_ = ['./multitask-rcnn_r50_fpn-c3c5_4xb3-90k_coco.py']

model = dict(
    backbone=dict(
        dcn=dict(type='DCN', deform_groups=1),
        stage_with_dcn=(False, True, True, True),
    )
)
