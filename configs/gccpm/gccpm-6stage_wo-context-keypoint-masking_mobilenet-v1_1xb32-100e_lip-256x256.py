_base_ = ['./gccpm-6stage_wo-context_mobilenet-v1_1xb32-100e_lip-256x256.py']

masking = dict(type='KeypointMasking')
train_pipeline = [
    masking if step.type == 'BodyMasking' else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
