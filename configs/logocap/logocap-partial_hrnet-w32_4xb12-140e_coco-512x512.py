# Ablation: the local context alone.
_base_ = ['./logocap_hrnet-w32_4xb12-140e_coco-512x512.py']

model = dict(head=dict(adaptation='partial'))
