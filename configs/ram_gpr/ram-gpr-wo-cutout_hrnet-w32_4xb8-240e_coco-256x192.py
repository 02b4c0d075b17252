# Ablation: without cutout.
_base_ = ['./ram-gpr_hrnet-w32_4xb8-240e_coco-256x192.py']

train_pipeline = [
    step for step in _base_.train_pipeline if step.type != 'Cutout'
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
