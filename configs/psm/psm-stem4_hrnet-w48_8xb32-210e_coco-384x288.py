# HRNet's own stem: maps from 1/4 of the input on, as are the heatmaps.
_base_ = ['./psm_hrnet-w48_8xb32-210e_coco-384x288.py']

codec = dict(
    type='MSRAHeatmap', input_size=(288, 384), heatmap_size=(72, 96), sigma=3
)
model = dict(backbone=dict(stem_stride=4), head=dict(decoder=codec))

# A new codec does not reach the inherited pipelines by itself.
changes = dict(GenerateTarget=dict(encoder=codec))
train_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
