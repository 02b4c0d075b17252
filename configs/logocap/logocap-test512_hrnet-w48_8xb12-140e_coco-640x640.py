# For testing: images with a short side of 512 px.
_base_ = ['./logocap_hrnet-w48_8xb12-140e_coco-640x640.py']

changes = dict(BottomupShortSideResize=dict(input_size=(512, 512)))
val_pipeline = [
    dict(step, **changes.get(step.type, {})) for step in _base_.val_pipeline
]
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
