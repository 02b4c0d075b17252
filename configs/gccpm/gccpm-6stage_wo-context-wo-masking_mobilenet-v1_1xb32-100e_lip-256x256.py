_base_ = ['./gccpm-6stage_wo-context_mobilenet-v1_1xb32-100e_lip-256x256.py']

train_pipeline = [
    step for step in _base_.train_pipeline if step.type != 'BodyMasking'
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
