# Refinement in the backbone and in the keypoint head ("RB+H", tables 3 to 5),
# which is the paper's full model.
_base_ = ['./multitask-rcnn-rb_r50-dcn_fpn-c3c5_4xb3-90k_coco.py']

model = dict(
    roi_head=dict(
        keypoint_head=dict(
            conv_cfg=dict(type='DCN', deform_groups=1), heatmap_refine=True
        )
    )
)
