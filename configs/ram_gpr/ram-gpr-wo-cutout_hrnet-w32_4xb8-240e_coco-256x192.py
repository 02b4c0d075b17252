# Ablation: without cutout.
_base_ = ['./ram-gpr_hrnet-w32_4xb8-240e_coco-256x192.py']

train_pipeline = [t for t in _base_.train_pipeline if t.type != 'Cutout']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
