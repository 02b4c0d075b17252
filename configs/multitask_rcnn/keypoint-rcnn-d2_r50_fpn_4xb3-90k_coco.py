# Detectron2's Keypoint R-CNN: boxes and keypoints alone, for the weights of
# its model zoo (tools/converters/detectron2_rcnn.py).
_base_ = ['./multitask-rcnn-d2_r50_fpn_4xb3-90k_coco.py']

model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
)
load_boxes = dict(type='LoadMultiTaskAnnotations', with_bbox=True)
train_pipeline = [
    load_boxes if step.type == load_boxes['type'] else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = [
    dict(metric, metric='bbox') if metric.type == 'CocoMetric' else metric
    for metric in _base_.val_evaluator
]
test_evaluator = val_evaluator
