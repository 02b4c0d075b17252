# A plan of tools/ablation.py: RAM and GPR in an HRNet-W16 with as few blocks
# as there can be, from random weights, on photographs of single persons in
# sport.
#
# Equal in all variants: data, augmentation and training, and all of HRNet but
# for its fusions. Not equal: GPR adds 0.71 M parameters and 0.046 GMACs to
# 0.73 M and 0.116 GMACs; without it, the maps are summed, as HRNet does it.
_base_ = './necks_lspet.py'

train_cfg = dict(max_epochs=8)
param_scheduler = [dict(_base_.lspet_cosine, T_max=8)]
optim_wrapper = dict(_delete_=True, optimizer=dict(type='Adam', lr=1e-3))

channels = [16, 32, 64, 128]
stages = {
    f'stage{branches}': dict(
        block='BASIC',
        num_modules=1,
        num_branches=branches,
        num_blocks=(1,) * branches,
        num_channels=tuple(channels[:branches]),
        multiscale_output=branches < 4,
    )
    for branches in (2, 3, 4)
}
model = dict(
    backbone=dict(
        _delete_=True,
        type='HRNet',
        extra=dict(
            stage1=dict(
                block='BOTTLENECK',
                num_modules=1,
                num_branches=1,
                num_blocks=(1,),
                num_channels=(16,),
            ),
            **stages,
        ),
    ),
    neck=None,
    head=dict(in_channels=16, deconv_out_channels=None),
)

ram = {'model.backbone.type': 'RAMHRNet'}
gpr = {
    'model.backbone.extra.stage4.multiscale_output': True,
    'model.neck': dict(_delete_=True, type='GPRNeck', in_channels=channels),
}
ablation = dict(
    baseline='HRNet',
    variants=dict(
        _delete_=True,
        **{'HRNet': {}, 'RAM': ram, 'GPR': gpr, 'RAM + GPR': {**ram, **gpr}},
    ),
)
