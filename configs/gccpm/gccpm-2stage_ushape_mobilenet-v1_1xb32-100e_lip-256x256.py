_base_ = ['./gccpm-6stage_ushape_mobilenet-v1_1xb32-100e_lip-256x256.py']

model = dict(head=dict(num_stages=2))
