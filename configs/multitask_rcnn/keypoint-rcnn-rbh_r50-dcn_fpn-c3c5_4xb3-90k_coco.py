# The full model without masks (table 6): boxes and keypoints alone.
_base_ = ['./multitask-rcnn-rbh_r50-dcn_fpn-c3c5_4xb3-90k_coco.py']

model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
)
train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(type='LoadMultiTaskAnnotations', with_bbox=True)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = _base_.val_evaluator
val_evaluator[0].metric = 'bbox'
test_evaluator = val_evaluator
