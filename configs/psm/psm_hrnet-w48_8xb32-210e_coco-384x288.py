_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_hrnet-w48_8xb32-210e_coco-384x288.py'
]
custom_imports = dict(imports=['mmpose_ext'], allow_failed_imports=False)

# The learning rate is for the 8 x 32 images of this config.
auto_scale_lr = dict(base_batch_size=256)

# Heatmaps at 1/2 of the input. A sigma of 6 cells is as wide in the image as
# MMPose's 3 cells at 1/4; the paper gives none.
codec = dict(
    type='MSRAHeatmap', input_size=(288, 384), heatmap_size=(144, 192), sigma=6
)
model = dict(
    backbone=dict(type='PSMHRNet', stem_stride=2), head=dict(decoder=codec)
)

changes = dict(
    # Section 2.2: half bodies of persons with more than eight joints, rotation
    # +-45 degrees, scale 0.7 to 1.35, no shift. How often, it does not say.
    RandomHalfBody=dict(min_total_keypoints=9, upper_prioritized_prob=0.5),
    RandomBBoxTransform=dict(
        shift_prob=0, scale_factor=(0.7, 1.35), rotate_factor=45
    ),
    # A new codec does not reach the inherited pipelines by itself.
    GenerateTarget=dict(encoder=codec),
)
train_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

# Section 2.2: box score times mean keypoint score.
val_evaluator = dict(score_mode='bbox_keypoint')
test_evaluator = val_evaluator
