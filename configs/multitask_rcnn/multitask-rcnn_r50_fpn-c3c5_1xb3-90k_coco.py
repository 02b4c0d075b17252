# The network without refinement on one GPU (table 7). The paper does not say
# what of the training differs; read here as the same images per GPU.
_base_ = ['./multitask-rcnn_r50_fpn-c3c5_4xb3-90k_coco.py']

auto_scale_lr = dict(base_batch_size=3)
