_base_ = ['./gccpm-6stage_wo-context_mobilenet-v1_1xb32-100e_lip-256x256.py']

train_pipeline = _base_.train_pipeline
del train_pipeline[1]  # BodyMasking
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
