_base_ = ['./ram-gpr_hrnet-w32_4xb8-240e_coco-256x192.py']

codec = dict(
    type='MSRAHeatmap', input_size=(288, 384), heatmap_size=(72, 96), sigma=3
)
model = dict(head=dict(decoder=codec))

# A new codec does not reach the inherited pipelines by itself.
train_pipeline = _base_.train_pipeline
train_pipeline[4].input_size = codec['input_size']
train_pipeline[6].encoder = codec
val_pipeline = _base_.val_pipeline
val_pipeline[2].input_size = codec['input_size']

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
