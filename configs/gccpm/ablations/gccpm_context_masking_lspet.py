# A plan of tools/ablation.py: context modules and masking augmentations of the
# 2-stage network on photographs of single persons in sport.
#
# Equal in all variants: trunk, stages, data and training. Each differs from the
# baseline either in its context or in its masking. All maskings change half of
# the images, with one grey. Not equal: the cost of the contexts, whose widths
# shrink as those of the head do: 1.43 M parameters and 0.38 GMACs without
# context, 1.45 M and 0.38 G with pyramid pooling, 1.80 M and 0.48 G with ASPP,
# 2.35 M and 0.47 G with the U-shaped one.
_base_ = '../gccpm-2stage_ushape_mobilenet-v1-w0.75_1xb16-30e_lspet-160x160.py'

train_cfg = dict(max_epochs=3)
param_scheduler = [dict(_base_.lspet_cosine, T_max=3)]
val_cfg = val_dataloader = val_evaluator = None
# Loading in the one thread of a run, which a second run beside it would take.
loader = dict(num_workers=0, persistent_workers=False)

# Smaller than the images of the config, for the budget.
codec = dict(_base_.codec, input_size=(128, 128), heatmap_size=(16, 16))
model = dict(head=dict(decoder=codec))
changes = dict(
    PaddedTopdownAffine=dict(input_size=codec['input_size']),
    GenerateTarget=dict(encoder=codec),
)
train_pipeline, val_pipeline = (
    [dict(step, **changes.get(step.type, {})) for step in pipeline]
    for pipeline in (_base_.train_pipeline, _base_.val_pipeline)
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline), **loader)
test_dataloader = dict(dataset=dict(pipeline=val_pipeline), **loader)

contexts = {
    'no': None,
    'pyramid pooling': dict(type='PyramidPoolingContext', mid_channels=10),
    'ASPP': dict(type='ASPPContext', mid_channels=160, neck_channels=40),
    'U-shaped': _base_.model.head.context,
}
maskings = {
    'no': [],
    'keypoint': [dict(type='KeypointMasking')],
    'cutout': [dict(type='Cutout', fill=128, prob=0.5)],
    'body': [dict(type='BodyMasking')],
}
pairs = [
    *((context, 'body') for context in contexts),
    *(('U-shaped', masking) for masking in maskings if masking != 'body'),
]
ablation = dict(
    seeds=[0, 1, 2],
    metrics={f'PCK@{thr}': f'PCK@{thr}' for thr in (0.05, 0.1, 0.2)},
    baseline='U-shaped context, body masking',
    variants={
        f'{context} context, {masking} masking': {
            'model.head.context': contexts[context]
            and dict(contexts[context], _delete_=True),
            'train_dataloader.dataset.pipeline': [
                new
                for step in train_pipeline
                for new in (
                    maskings[masking]
                    if step['type'] == 'BodyMasking'
                    else [step]
                )
            ],
        }
        for context, masking in pairs
    },
)
