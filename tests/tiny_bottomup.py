# MMPose's DEKR with 8 channels, to be run with random weights.
_base_ = 'mmpose::body_2d_keypoint/dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512.py'  # noqa: E501
codec = dict(
    type='SPR',
    input_size=(128, 128),
    heatmap_size=(32, 32),
    sigma=(4, 2),
    generate_keypoint_heatmaps=True,
    decode_max_instances=5,
)
model = dict(
    backbone=dict(
        extra=dict(
            stage1=dict(num_blocks=(1,), num_channels=(8,)),
            stage2=dict(num_blocks=(1, 1), num_channels=(8, 16)),
            stage3=dict(
                num_modules=1, num_blocks=(1, 1, 1), num_channels=(8, 16, 32)
            ),
            stage4=dict(
                num_modules=1,
                num_blocks=(1, 1, 1, 1),
                num_channels=(8, 16, 32, 64),
            ),
        ),
        init_cfg=None,
    ),
    head=dict(
        in_channels=120,
        num_heatmap_filters=8,
        num_displacement_filters_per_keypoint=2,
        decoder=codec,
        rescore_cfg=None,
    ),
    test_cfg=dict(flip_test=False),
)
val_pipeline = _base_.val_pipeline
val_pipeline[1].input_size = codec['input_size']
test_dataloader = dict(dataset=dict(pipeline=val_pipeline))
