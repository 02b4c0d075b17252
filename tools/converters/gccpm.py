"""Official weights of the global-context pose machine, for our model.

Reads a checkpoint of gccpm-look-into-person-cvpr19.pytorch with any number of
refinement stages, or with --backbone the ImageNet checkpoint of marvis'
pytorch-mobilenet, from which that pose machine starts. The result is for

    model = dict(
        type='TopdownPoseEstimator',
        backbone=dict(type='MobileNetV1', out_indices=(3,), output_stride=8),
        head=dict(type='GCCPMHead', in_channels=512, out_channels=17,
                  num_stages=..., context=dict(type='UShapedContext')))

or for the backbone's init_cfg=dict(type='Pretrained', checkpoint=...,
prefix='backbone.').
"""

import re

import torch
from torch import nn

import mmpose_ext  # noqa: F401  (before torchvision's users)
from mmpose_ext.checks import check_output_file
from mmpose_ext.converters import (
    convert_weights,
    make_parser,
    read_weights,
    write_weights,
)
from mmpose_ext.errors import run_tool
from mmpose_ext.models.backbones import MobileNetV1
from mmpose_ext.models.heads import GCCPMHead

DEPTHS = [depth for _, depth in MobileNetV1.stage_settings]
# From our names to theirs. Their blocks are sequences: 0 and 1 (or, in the
# second half of a separable convolution, 3 and 4) are convolution and norm.
RULES = (
    # Their blocks of all stages are counted together, after the stem.
    (
        r'^backbone\.stages\.(\d)\.(\d)\.',
        lambda m: f'model.{1 + sum(DEPTHS[: int(m[1])]) + int(m[2])}.',
    ),
    (r'^backbone\.stem\.', r'model.0.'),
    (r'^head\.reduction\.', r'cpm.'),
    (r'^head\.initial_stage\.3\.', r'initial_stage.heatmaps.'),
    (r'^head\.initial_stage\.', r'initial_stage.trunk.'),
    (r'^head\.refinement_stages\.', r'refinement_stages.'),
    # The context module is the first of four blocks.
    (r'\.context\.', r'.trunk.0.'),
    (r'\.blocks\.(\d)\.', lambda m: f'.trunk.{int(m[1]) + 1}.'),
    (r'\.reduce\.', r'.initial.'),
    (r'\.convs\.', r'.trunk.'),
    (r'\.hidden\.', r'.0.'),
    (r'\.out\.', r'.1.0.'),
    (r'\.depthwise_conv\.', r'.'),
    (r'\.pointwise_conv\.conv\.', r'.3.'),
    (r'\.pointwise_conv\.bn\.', r'.4.'),
    (r'\.conv\.', r'.0.'),
    (r'\.bn\.', r'.1.'),
)
# What marvis' network has after the part that the pose machine takes.
UNUSED = re.compile(r'(model\.1[23]|fc)\.')


def make_model(num_refinements=None) -> nn.Module:
    """Our networks without memory for weights; None for no head."""
    with torch.device('meta'):
        model = nn.Module()
        model.backbone = MobileNetV1(out_indices=(3,), output_stride=8)
        if num_refinements is not None:
            model.head = GCCPMHead(
                in_channels=512,
                out_channels=17,
                num_stages=1 + num_refinements,
                context=dict(type='UShapedContext'),
            )
    return model


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument(
        '--backbone',
        action='store_true',
        help="SRC is marvis' MobileNet: write the backbone alone",
    )
    args = parser.parse_args(argv)
    check_output_file(args.dst, args.overwrite)
    weights = read_weights(args.src)
    if args.backbone:
        weights = {k: v for k, v in weights.items() if not UNUSED.match(k)}
        refinements, what = None, "marvis' MobileNet"
    else:
        found = (re.match(r'refinement_stages\.(\d+)\.', k) for k in weights)
        stages = {match[1] for match in found if match}
        refinements, what = len(stages), 'the official pose machine'
    converted = convert_weights(
        weights,
        make_model(refinements),
        RULES,
        f"the weights of '{args.src}', taken for those of {what},",
    )
    write_weights(args.dst, converted, args.src)
    print(
        f'{len(converted)} weights written to {args.dst}'
        + ('' if args.backbone else f', for num_stages={1 + refinements}')
    )


if __name__ == '__main__':
    run_tool(main)
