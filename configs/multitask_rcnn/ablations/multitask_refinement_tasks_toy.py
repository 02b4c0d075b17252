# A plan of tools/ablation.py: what the toy network, which has all refinement
# and all tasks, loses without them.
_base_ = '../multitask-rcnn-rbh_r50-w16-dcn_fpn-c3c5_1xb4-10e_toy-persons-256x192.py'

train_cfg = dict(max_epochs=2, val_interval=2)
param_scheduler = [
    dict(step, T_max=2) if step.type == 'CosineAnnealingLR' else step
    for step in _base_.param_scheduler
]

plain_head = {
    'model.roi_head.keypoint_head.conv_cfg': None,
    'model.roi_head.keypoint_head.heatmap_refine': False,
}
refinements = {
    'no refinement': {
        **plain_head,
        'model.backbone.dcn': None,
        'model.backbone.stage_with_dcn': (False,) * 4,
    },
    'backbone': plain_head,
    'backbone + head': {},
}
load_boxes = dict(type='LoadMultiTaskAnnotations', with_bbox=True)
evaluator = [
    dict(metric, metric='bbox') if metric.type == 'CocoMetric' else metric
    for metric in _base_.val_evaluator
]
tasks = {
    # As the configs of boxes and keypoints alone.
    'keypoints': {
        'model.type': 'FasterRCNN',
        'model.data_preprocessor.pad_mask': False,
        'model.roi_head.mask_roi_extractor': None,
        'model.roi_head.mask_head': None,
        'train_dataloader.dataset.pipeline': [
            load_boxes if step.type == load_boxes['type'] else step
            for step in _base_.train_pipeline
        ],
        'val_evaluator': evaluator,
        'test_evaluator': evaluator,
    },
    'keypoints + masks': {},
}
ablation = dict(
    seeds=[0],
    metrics={
        'box AP': 'coco/bbox_mAP',
        'mask AP': 'coco/segm_mAP',
        'keypoint AP': 'coco/keypoints_mAP',
        'AP@.5': 'coco/keypoints_mAP_50',
    },
    variants={
        f'{refinement}, {task}': {**settings, **more}
        for refinement, settings in refinements.items()
        for task, more in tasks.items()
    },
)
