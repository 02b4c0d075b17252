# For testing on OCHuman.
_base_ = ['./logocap_hrnet-w32_4xb12-140e_coco-512x512.py']

data_root = 'data/ochuman/'
test_dataloader = dict(
    dataset=dict(
        type='OCHumanDataset',
        data_root=data_root,
        ann_file='annotations/ochuman_coco_format_test_range_0.00_1.00.json',
        data_prefix=dict(img='images/'),
    )
)
test_evaluator = dict(
    ann_file=data_root
    + 'annotations/ochuman_coco_format_test_range_0.00_1.00.json'
)
