# A plan of tools/ablation.py: context modules and masking augmentations of the
# toy network. Widths are a quarter of the paper's, as those of the network.
_base_ = '../gccpm-2stage_ushape_mobilenet-v1-w0.5_1xb8-12e_toy-lip-128x128.py'

train_cfg = dict(max_epochs=6, val_interval=6)
param_scheduler = [dict(_base_.toy_cosine, T_max=6)]

contexts = {
    'no': None,
    'pyramid pooling': dict(type='PyramidPoolingContext', mid_channels=8),
    'ASPP': dict(type='ASPPContext', mid_channels=256, neck_channels=32),
    'U-shaped': dict(type='UShapedContext'),
}
maskings = {
    'no': [],
    'body': [dict(type='BodyMasking')],
    'keypoint': [dict(type='KeypointMasking')],
}
load, *others = (
    step for step in _base_.train_pipeline if step.type != 'BodyMasking'
)
ablation = dict(
    seeds=[0],
    metrics={name: f'lip/{name}' for name in ('Head', 'Hip', 'PCKh')},
    variants={
        f'{context} context, {masking} masking': {
            'model.head.context': module and dict(module, _delete_=True),
            'train_dataloader.dataset.pipeline': [load, *steps, *others],
        }
        for context, module in contexts.items()
        for masking, steps in maskings.items()
    },
)
