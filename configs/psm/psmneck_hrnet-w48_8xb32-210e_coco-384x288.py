# Pixel shuffle modules behind a plain HRNet: its four maps, from 1/32 to 1/4
# of the input, and that of its stem, at 1/2.
_base_ = ['./psm_hrnet-w48_8xb32-210e_coco-384x288.py']

model = dict(
    backbone=dict(
        type='StemHRNet',
        stem_stride=4,
        with_stem_map=True,
        extra=dict(stage4=dict(multiscale_output=True)),
    ),
    neck=dict(type='PSMNeck', in_channels=[64, 48, 96, 192, 384]),
    head=dict(in_channels=64),
)
