# Ablation: without gradual pyramid refinement. The maps are rescaled to
# stride 4 and summed, which is what the last fusion's first output is.
_base_ = ['./ram-gpr_hrnet-w32_4xb8-240e_coco-256x192.py']

model = dict(
    backbone=dict(extra=dict(stage4=dict(multiscale_output=False))), neck=None
)
