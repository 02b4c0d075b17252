# Ablation: without attention weights, that is HRNet's own fusion.
_base_ = ['./ram-gpr_hrnet-w32_4xb8-240e_coco-256x192.py']

model = dict(backbone=dict(type='HRNet'))
