# Ablation: centres and offsets alone, the paper's centre-offset baseline.
_base_ = ['./logocap_hrnet-w32_4xb12-140e_coco-512x512.py']

model = dict(head=dict(adaptation='none'))
