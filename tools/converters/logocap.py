"""Official weights of LOGO-CAP, for our model.

Reads a checkpoint of the official logocap with HRNet-W32 or HRNet-W48, as the
weights show. The result is for

    model = dict(
        type='BottomupPoseEstimator',
        backbone=dict(type='HRNet', extra=dict(..., stage4=dict(
            ..., multiscale_output=True))),
        neck=dict(type='FeatureMapProcessor', concat=True),
        head=dict(type='LOGOCAPHead', in_channels=480, num_keypoints=17,
                  heatmap_channels=32, ...))

as in configs/logocap; with HRNet-W48, in_channels=720, heatmap_channels=48.
"""

import mmpose_ext  # noqa: F401  # isort: skip  first: it repairs the others
import torch
from mmpose.models.backbones import HRNet
from torch import nn

from mmpose_ext.checks import check_output_file
from mmpose_ext.converters import (
    convert_weights,
    make_parser,
    read_weights,
    write_weights,
)
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.models.heads import LOGOCAPHead

WIDTHS = (32, 48)
# A convolution of as many channels as the network's width.
WIDTH_KEY = 'backbone.stage4.0.branches.0.0.conv1.weight'

# From our names to theirs; those of the backbone are the same.
RULES = (
    (r'^head\.heatmap_branch\.3\.', r'final_layer_cls.'),
    (r'^head\.heatmap_branch\.', r'transition_cls.'),
    (r'^head\.offset_branch\.3\.', r'final_layer_reg.'),
    (r'^head\.offset_branch\.', r'transition_reg.'),
    (r'^head\.embedding_branch\.', r'transition_embedding.'),
    (r'^head\.refinement\.', r'joints_mlp.'),
    # The attentive norm, which is a batch norm itself there.
    (r'^joints_mlp\.4\.norm\.', r'joints_mlp.4.'),
    (r'^joints_mlp\.4\.gamma$', r'joints_mlp.4.weight_'),
    (r'^joints_mlp\.4\.beta$', r'joints_mlp.4.bias_'),
    (r'^joints_mlp\.4\.mixing\.', r'joints_mlp.4.attn_weights.attention.0.'),
)


def make_model(width: int) -> nn.Module:
    """Our networks for HRNet of a width, without memory for weights."""

    def stage(num_modules: int, num_branches: int, **kwargs) -> dict:
        return dict(
            num_modules=num_modules,
            num_branches=num_branches,
            block='BASIC',
            num_blocks=(4,) * num_branches,
            num_channels=tuple(width << i for i in range(num_branches)),
            **kwargs,
        )

    stem = dict(
        num_modules=1,
        num_branches=1,
        block='BOTTLENECK',
        num_blocks=(4,),
        num_channels=(64,),
    )
    extra = dict(
        stage1=stem,
        stage2=stage(1, 2),
        stage3=stage(4, 3),
        stage4=stage(3, 4, multiscale_output=True),
    )
    with torch.device('meta'):
        model = nn.Module()
        model.backbone = HRNet(extra)
        # The weights do not depend on how poses are encoded.
        model.head = LOGOCAPHead(
            in_channels=15 * width,
            num_keypoints=17,
            heatmap_channels=width,
            decoder=dict(
                type='CenterOffset',
                input_size=(512, 512),
                heatmap_size=(128, 128),
            ),
            expansion=dict(type='KeypointExpansion', sigmas=[1.0] * 17),
        )
    return model


def main(argv=None):
    args = make_parser(__doc__).parse_args(argv)
    check_output_file(args.dst, args.overwrite)
    weights = read_weights(args.src)
    if WIDTH_KEY not in weights:
        raise InputError(
            f"'{args.src}' is no official LOGO-CAP: it has no {WIDTH_KEY}"
        )
    width = len(weights[WIDTH_KEY])
    if width not in WIDTHS:
        raise InputError(
            f"'{args.src}': expected HRNet-W32 or HRNet-W48, got {width} "
            f'channels in {WIDTH_KEY}'
        )
    converted = convert_weights(
        weights,
        make_model(width),
        RULES,
        f"the weights of '{args.src}', taken for those of the official "
        f'LOGO-CAP with HRNet-W{width},',
    )
    write_weights(args.dst, converted, args.src)
    print(
        f'{len(converted)} weights written to {args.dst}, for HRNet-W{width}'
    )


if __name__ == '__main__':
    run_tool(main)
