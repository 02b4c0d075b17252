"""Keypoint R-CNN and Mask R-CNN of Detectron2, for our multi-task R-CNN.

Reads a checkpoint of Detectron2 (a .pkl of its model zoo, or a .pth) with
ResNet-50 and FPN and with a keypoint head, a mask head, both or neither; the
backbone's 3x3 convolutions may be deformable. The result is for a model of
the same heads, or for the one of --config. The weights do not say
how images are prepared; the config must, as those of configs/multitask_rcnn
with "-d2_" in their names do:

    data_preprocessor=dict(..., bgr_to_rgb=False, pad_size_divisor=32,
        mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0]),
    backbone=dict(type='ResNet', depth=50, style='caffe', ...),
    neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048],
        out_channels=256, num_outs=5),
    rpn_head=dict(
        anchor_generator=dict(type='AnchorGenerator', scales=[8],
            ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
        bbox_coder=dict(..., target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(..., use_sigmoid=True)),
    roi_head=dict(
        # of all heads: RoIAlign(sampling_ratio=0, aligned=True)
        bbox_head=dict(type='Shared2FCBBoxHead', num_classes=1 or 80,
            bbox_coder=dict(..., target_stds=[0.1, 0.1, 0.2, 0.2])),
        mask_head=dict(type='FCNMaskHead', num_classes=1 or 80),
        keypoint_head=dict(type='OffsetKeypointHead', heatmap_refine=False,
            activation='none', loss='ce', decode='bicubic'))

and in the test pipeline Resize(scale=(1333, 800), keep_ratio=True,
backend='pillow').

Both projects flatten a RoI as channels, rows, columns, have the background as
last class and x, y, w, h of one class side by side, and count anchors fastest
within a place of the map, in the order of ratios; so no weight is rearranged.
Left are small differences, all of them MMDet's:

- It reads images by OpenCV instead of Pillow.
- Its delta2bbox limits how far a box may shrink, not only how far it may
  grow: to 16/1000 of its size, where Detectron2 has no limit. A box of 30 px
  that is to shrink to 0 px stays 0.48 px wide.
- It ranks proposals by the sigmoids of their logits, Detectron2 by the
  logits. In single precision, different logits above about 16 have the same
  sigmoid, so that other ones of these proposals may be kept.

All of this was read from the sources and tested with made-up weights, for
want of one of Detectron2's files. Such a file would show whether its names
and shapes are those expected here (else it is refused), and its AP: box and
keypoints 53.6 and 64.0 on val2017 for keypoint_rcnn_R_50_FPN_1x.

--person-only takes the person of a model of COCO's 80 classes. Its scores
change: they become the softmax of person and background alone, so that they
are higher, and an object that another class would have won can become a
person. That is to train from; to evaluate the original weights, convert all
classes, which is the default.
"""

import re
from itertools import accumulate
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Tuple

import mmpose_ext  # noqa: F401  # isort: skip  first: it repairs the others
import torch
from mmengine.registry import MODELS, TASK_UTILS, DefaultScope
from torch import Tensor, nn

from mmpose_ext.checks import check_output_file, explain_unknown_types
from mmpose_ext.converters import convert_weights, make_parser, write_weights
from mmpose_ext.converters.detectron2 import read_detectron2_weights
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.multitask import OffsetKeypointHead

CLASSES = 'roi_heads.box_predictor.cls_score.'
BOXES = 'roi_heads.box_predictor.bbox_pred.'
MASK_HEAD = 'roi_heads.mask_head.'
MASKS = f'{MASK_HEAD}predictor.'
KEYPOINT_HEAD = 'roi_heads.keypoint_head.'
KEYPOINTS = f'{KEYPOINT_HEAD}score_lowres.'
ANCHORS = 'proposal_generator.anchor_generator.cell_anchors.'
ANCHOR_GENERATOR = dict(
    type='AnchorGenerator',
    scales=[8],
    ratios=[0.5, 1.0, 2.0],
    strides=[4, 8, 16, 32, 64],
)
# Deformable convolutions by the channels that move one of 3x3.
DCN_TYPES = {18: 'DCN', 27: 'DCNv2'}


def numbered(name: str, shift: int) -> Callable[[re.Match], str]:
    """A replacement that counts from ``shift`` where the match does from 0."""
    return lambda match: f'{name}{int(match[1]) + shift}'


# From our names to theirs.
RULES = (
    (r'^backbone\.layer(\d)', numbered('backbone.bottom_up.res', 1)),
    (r'^backbone\.(conv1|bn1)\.', r'backbone.bottom_up.stem.\1.'),
    (r'\.bn(\d)\.', r'.conv\1.norm.'),
    (r'\.downsample\.0\.', r'.shortcut.'),
    (r'\.downsample\.1\.', r'.shortcut.norm.'),
    (r'\.conv2\.conv_offset\.', r'.conv2_offset.'),
    (r'^neck\.lateral_convs\.(\d)\.conv', numbered('backbone.fpn_lateral', 2)),
    (r'^neck\.fpn_convs\.(\d)\.conv', numbered('backbone.fpn_output', 2)),
    (r'^rpn_head\.', r'proposal_generator.rpn_head.'),
    (r'\.rpn_conv\.', r'.conv.'),
    (r'\.rpn_cls\.', r'.objectness_logits.'),
    (r'\.rpn_reg\.', r'.anchor_deltas.'),
    (r'^roi_head\.', r'roi_heads.'),
    (r'\.bbox_head\.shared_fcs\.(\d)', numbered('.box_head.fc', 1)),
    (r'\.bbox_head\.fc_cls\.', r'.box_predictor.cls_score.'),
    (r'\.bbox_head\.fc_reg\.', r'.box_predictor.bbox_pred.'),
    (r'\.mask_head\.convs\.(\d)\.conv', numbered('.mask_head.mask_fcn', 1)),
    (r'\.mask_head\.upsample\.', r'.mask_head.deconv.'),
    (r'\.mask_head\.conv_logits\.', r'.mask_head.predictor.'),
    (r'\.keypoint_head\.convs\.(\d)', numbered('.keypoint_head.conv_fcn', 1)),
    (r'\.heatmap_deconv\.', r'.score_lowres.'),
)


def split_settings(
    weights: Mapping[str, Tensor], path: str
) -> Tuple[Dict[str, Tensor], List[str]]:
    """The weights alone, and what the config must have for pixels."""
    weights = dict(weights)
    with DefaultScope.overwrite_default_scope('mmdet'):
        generator = TASK_UTILS.build(ANCHOR_GENERATOR)
    for level, expected in enumerate(generator.base_anchors):
        given = weights.pop(f'{ANCHORS}{level}', expected)
        if given.shape != expected.shape or not torch.allclose(
            given.to(expected), expected, atol=0.01
        ):
            raise InputError(
                f"'{path}': expected the anchors {expected.tolist()} in "
                f'{ANCHORS}{level}, got {given.tolist()}'
            )
    return weights, [
        f'{name[6:]}={weights.pop(name).flatten().tolist()}'
        for name in ('pixel_mean', 'pixel_std')
        if name in weights
    ]


def keep_person(weights: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """Reduce the heads to the first of their classes."""
    weights = dict(weights)
    # Person and background are rows 0 and 80.
    for layer, rows in (
        (CLASSES, slice(None, None, 80)),
        (BOXES, slice(4)),
        (MASKS, slice(1)),
    ):
        for key in (f'{layer}weight', f'{layer}bias'):
            if key in weights:
                weights[key] = weights[key][rows].clone()
    return weights


def find_dcn(weights: Mapping[str, Tensor], path: str) -> dict:
    """Arguments of MMDet's ResNet for the stages that are deformable."""
    names = [
        f'backbone.bottom_up.res{i}.0.conv2_offset.weight' for i in range(2, 6)
    ]
    found = [name for name in names if name in weights]
    if not found:
        return {}
    channels = len(weights[found[0]])
    if channels not in DCN_TYPES:
        raise InputError(
            f"'{path}': expected 18 or 27 channels in {found[0]}, got "
            f'{channels}'
        )
    return dict(
        dcn=dict(type=DCN_TYPES[channels], deform_groups=1),
        stage_with_dcn=tuple(name in weights for name in names),
    )


def make_model(
    num_classes: int,
    num_keypoints: Optional[int] = None,
    with_mask: bool = False,
    heatmap_refine: bool = False,
    **dcn,
) -> nn.Module:
    """Our networks, without memory for weights."""
    scope = DefaultScope.overwrite_default_scope('mmdet')
    with scope, torch.device('meta'):
        model = nn.Module()
        model.backbone = MODELS.build(
            dict(type='ResNet', depth=50, style='caffe', **dcn)
        )
        model.neck = MODELS.build(
            dict(
                type='FPN',
                in_channels=[256, 512, 1024, 2048],
                out_channels=256,
                num_outs=5,
            )
        )
        model.rpn_head = MODELS.build(
            dict(
                type='RPNHead',
                in_channels=256,
                anchor_generator=ANCHOR_GENERATOR,
            )
        )
        model.roi_head = nn.Module()
        model.roi_head.bbox_head = MODELS.build(
            dict(
                type='Shared2FCBBoxHead',
                in_channels=256,
                num_classes=num_classes,
            )
        )
        if with_mask:
            model.roi_head.mask_head = MODELS.build(
                dict(type='FCNMaskHead', num_classes=num_classes)
            )
        if num_keypoints is not None:
            model.roi_head.keypoint_head = OffsetKeypointHead(
                num_keypoints=num_keypoints, heatmap_refine=heatmap_refine
            )
    return model


def load_model(config: str) -> nn.Module:
    """The model of a config, without memory for most of its weights."""
    cfg = load_config(config)
    if 'model' not in cfg:
        raise InputError(f"{config}: expected a config with a 'model'")
    scope = cfg.get('default_scope') or 'mmdet'
    with (
        DefaultScope.overwrite_default_scope(scope),
        explain_unknown_types(cfg),
        torch.device('meta'),
    ):
        return MODELS.build(cfg.model)


def parts(names: Iterable[str], others: Iterable[str]) -> List[str]:
    """The largest modules with some of the names and none of the others."""

    def modules(name: str) -> Iterable[str]:
        return accumulate(name.split('.'), lambda a, b: f'{a}.{b}')

    taken = {module for name in others for module in modules(name)}
    found = (
        next(module for module in modules(name) if module not in taken)
        for name in names
    )
    return list(dict.fromkeys(found))


def fit(
    weights: Mapping[str, Tensor], places: Mapping[str, Tensor], name: str
) -> Tuple[Dict[str, Tensor], List[str]]:
    """Leave out what a model has no place for.

    Returns the weights that remain, and lines about those without a place and
    places without a weight.
    """
    shapes = [
        f'  {key}: {tuple(value.shape)} for {tuple(places[key].shape)}'
        for key, value in weights.items()
        if key in places and places[key].shape != value.shape
    ]
    if shapes:
        raise InputError(
            '\n'.join([f'weights do not fit into {name}:', *shapes])
        )
    notes = []
    for verdict, names, others in (
        ('left out, having no place in', weights.keys() - places, places),
        ('not given, so initialised by', places.keys() - weights, weights),
    ):
        found = parts(sorted(names), others)
        if found:
            notes.append(f'{verdict} {name}: {", ".join(found)}')
    return {k: v for k, v in weights.items() if k in places}, notes


def main(argv=None):
    parser = make_parser(__doc__, 'checkpoint of Detectron2')
    parser.add_argument(
        '--config',
        help='config of the model that the weights are for, e.g. with '
        'deformable convolutions where SRC has plain ones: what it has no '
        'place for is left out',
    )
    parser.add_argument(
        '--person-only',
        action='store_true',
        help="of 80 classes, write the person's weights alone (see above)",
    )
    args = parser.parse_args(argv)
    check_output_file(args.dst, args.overwrite)
    target = load_model(args.config) if args.config else None
    weights = read_detectron2_weights(args.src)
    if f'{CLASSES}weight' not in weights:
        raise InputError(
            f"'{args.src}' is no R-CNN of Detectron2: it has no "
            f'{CLASSES}weight'
        )
    weights, settings = split_settings(weights, args.src)

    num_classes = len(weights[f'{CLASSES}weight']) - 1
    if args.person_only:
        if num_classes != 80:
            raise InputError(
                "--person-only takes the first of COCO's 80 classes, but "
                f"'{args.src}' has {num_classes}"
            )
        weights, num_classes = keep_person(weights), 1
    arch = dict(num_classes=num_classes, **find_dcn(weights, args.src))
    if any(key.startswith(KEYPOINT_HEAD) for key in weights):
        arch['num_keypoints'] = len(weights.get(f'{KEYPOINTS}bias', [0] * 17))
    if any(key.startswith(MASK_HEAD) for key in weights):
        arch['with_mask'] = True
    converted = convert_weights(
        weights,
        make_model(**arch),
        RULES,
        f"the weights of '{args.src}', taken for those of Detectron2's R-CNN "
        'with ResNet-50 and FPN,',
    )

    name = args.config or 'the full model'
    if target is None:
        full = dict(num_keypoints=17, with_mask=True, heatmap_refine=True)
        target = make_model(**{**full, **arch})
    written, notes = fit(converted, target.state_dict(), name)
    if settings:
        notes.append('for the data_preprocessor: ' + ', '.join(settings))
    write_weights(args.dst, written, args.src)
    print(
        f'{len(written)} weights written to {args.dst}, for num_classes='
        f'{num_classes}',
        *notes,
        sep='\n',
    )


if __name__ == '__main__':
    run_tool(main)
