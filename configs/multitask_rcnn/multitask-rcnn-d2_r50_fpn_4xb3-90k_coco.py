# As Detectron2 has it: the FPN of conv2 to conv5, and a keypoint head that is
# trained as a softmax over its cells. Weights from its model zoo
# (tools/converters/detectron2_rcnn.py) are for this network.
_base_ = ['./multitask-rcnn_r50_fpn-c3c5_4xb3-90k_coco.py']

roi_extractor = dict(featmap_strides=[4, 8, 16, 32], finest_scale=56)
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
    rpn_head=dict(
        anchor_generator=dict(scales=[8], strides=[4, 8, 16, 32, 64])
    ),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        mask_roi_extractor=roi_extractor,
        keypoint_roi_extractor=roi_extractor,
        keypoint_head=dict(activation='none', loss='ce', decode='bicubic'),
    ),
)

# Detectron2 resizes with Pillow.
changes = dict(
    RandomChoiceResize=dict(backend='pillow'), Resize=dict(backend='pillow')
)
train_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.test_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
