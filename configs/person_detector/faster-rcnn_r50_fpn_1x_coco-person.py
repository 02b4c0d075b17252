# Faster R-CNN as the person detector of top-down pose estimation.
#
# It keeps COCO's 80 classes, so that the weights which MMDetection publishes
# for its base config fit; tools/detect_persons.py takes the person boxes.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmpose_ext'], allow_failed_imports=False)

# Pose AP ranks persons by box and keypoint scores together and so gains from
# recall: keep weak boxes too (MMDetection drops those below 0.05).
model = dict(test_cfg=dict(rcnn=dict(score_thr=0.01)))

# Print the AP of each class, of which one is the person's.
val_evaluator = dict(classwise=True)
test_evaluator = val_evaluator
