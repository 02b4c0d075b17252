"""A description that an exported file may carry, and changes of it."""

import copy

import numpy as np

GOOD = dict(
    format=1,
    structure='Tensor',
    weights=7,
    kind='topdown',
    parts=(),
    model=dict(
        head=dict(
            type='HeatmapHead',
            in_channels=8,
            out_channels=2,
            deconv_out_channels=None,
            final_layer=dict(kernel_size=1, type='Conv2d'),
            loss=dict(
                type='CombinedLoss',
                losses=dict(a=dict(type='KeypointMSELoss')),
            ),
            decoder=dict(
                type='MSRAHeatmap', input_size=(8, 8), heatmap_size=[2, 2]
            ),
        ),
        data_preprocessor=dict(type='PoseDataPreprocessor', mean=[1.5]),
        test_cfg=dict(flip_test=True, flip_mode='heatmap'),
    ),
    pipeline=[
        dict(type='LoadImage'),
        dict(
            type='RandomChoice',
            transforms=[[dict(type='Compose', transforms=[])]],
        ),
        dict(type='CenterCrop', crop_size=8, pad_cfg=dict(type='Pad')),
        dict(type='RandomResize', scale=(8, 8), resize_type='Resize'),
        dict(type='GenerateTarget', encoder=dict(type='UDPHeatmap')),
        dict(type='GetBBoxCenterScale'),
        dict(type='PackPoseInputs'),
    ],
    dataset_meta=dict(
        dataset_name='two',
        num_keypoints=2,
        keypoint_id2name={0: 'a', 1: 'b'},
        keypoint_name2id=dict(a=0, b=1),
        upper_body_ids=[],
        flip_indices=(1, 0),
        flip_pairs=[(0, 1)],
        num_skeleton_links=1,
        skeleton_links=[(0, 1)],
        skeleton_link_colors=np.array([[0, 128, 255]], np.uint8),
        sigmas=np.array([0.1, 0.2], np.float32),
    ),
)


def put(place, value, metadata=GOOD):
    """A copy of a description with another value at a place.

    The place is a path of keys and indices, as ``'pipeline.1.type'``.
    """
    metadata = copy.deepcopy(metadata)
    *outer, key = (
        int(name) if name.isdigit() else name for name in place.split('.')
    )
    node = metadata
    for name in outer:
        node = node[name]
    node[key] = value
    return metadata
