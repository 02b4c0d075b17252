# For testing: images with a short side of 384 px.
_base_ = ['./logocap_hrnet-w32_4xb12-140e_coco-512x512.py']

changes = dict(BottomupShortSideResize=dict(input_size=(384, 384)))
val_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.val_pipeline
]
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
