"""PoseNet's trunk of TensorFlow.js, for our MobileNetV1.

Reads the graph model of a PoseNet with a MobileNet of any width, in single
precision or quantised to half precision, 8 or 16 bits: a .json file beside
its .bin files. Google trained it on COCO's keypoints; its licence is Apache
2.0. The result is for

    data_preprocessor=dict(type='PoseDataPreprocessor', mean=[127.5] * 3,
                           std=[127.5] * 3, bgr_to_rgb=True)
    backbone=dict(
        type='MobileNetV1', widen_factor=..., out_indices=(3,),
        output_stride=8, act_cfg=dict(type='ReLU6'), norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.'))

Its batch norms are folded. A training with the statistics of batches would
destroy its weights in the first step, hence norm_eval=True; without it, have
the norms calibrated by --images on images of your own, in the size and with
the output stride of that training, on which these statistics depend.

TensorFlow pads maps of an even size on one side only: maps are those of
PoseNet where the sides of the image are multiples of 32, plus 1.
"""

import os.path as osp

import mmpose_ext  # noqa: F401  # isort: skip  first: it repairs the others
import cv2
import torch
from rich.console import Console
from rich.progress import track

from mmpose_ext.checks import check_output_file, check_output_folder
from mmpose_ext.converters import make_parser, write_weights
from mmpose_ext.converters.posenet import calibrate_norms, read_posenet
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.inference.files import list_images, read_image, read_size

SIZES = range(32, 2049)


def normalised(paths, size):
    """Yield images of shape (1, 3, size, size), as PoseNet takes them."""
    console = Console(stderr=True)
    for path in track(paths, 'Calibrating', console=console):
        image = cv2.resize(read_image(path), (size, size))[..., ::-1].copy()
        yield torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1


def main(argv=None):
    parser = make_parser(__doc__, "PoseNet's graph model (.json)")
    parser.add_argument(
        '--images',
        help='calibrate the norms on an image, a folder of images, or a glob',
    )
    parser.add_argument(
        '--size',
        type=int,
        default=256,
        help='sides in px that these images are brought to',
    )
    parser.add_argument(
        '--output-stride',
        type=int,
        choices=(4, 8, 16, 32),
        default=8,
        help='that of the network they are seen by',
    )
    args = parser.parse_args(argv)
    check_output_file(args.dst, args.overwrite)
    if args.size not in SIZES:
        raise InputError(
            f'--size {args.size}: expected {SIZES[0]} to {SIZES[-1]} px'
        )
    paths = list_images(args.images) if args.images else []
    for path in paths:
        read_size(path)
    model = read_posenet(args.src, args.output_stride)
    check_output_folder(osp.dirname(args.dst) or '.')
    if paths:
        calibrate_norms(model, normalised(paths, args.size))
    weights = {f'backbone.{k}': v for k, v in model.state_dict().items()}
    write_weights(args.dst, weights, args.src)
    width = model.stem.conv.out_channels / 32
    print(
        f'{len(weights)} weights written to {args.dst}, for '
        f'widen_factor={width:g}'
    )


if __name__ == '__main__':
    run_tool(main)
