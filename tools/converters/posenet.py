"""PoseNet's trunk of TensorFlow.js, for our MobileNetV1.

Reads the graph model of a PoseNet with a MobileNet of any width, in single
precision or quantised to half precision, 8 or 16 bits: a .json file beside
its .bin files. It was trained by Google on COCO's keypoints. The result is
for

    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, ...),
    backbone=dict(
        type='MobileNetV1', widen_factor=..., out_indices=(3,),
        output_stride=8, act_cfg=dict(type='ReLU6'), norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.'))

Its batch norms are folded. A training with the statistics of batches would
destroy its weights in the first step, hence norm_eval=True; without it, have
the norms calibrated on images of your own by --images.

TensorFlow pads maps of an even size on one side only: maps are those of
PoseNet where the sides of the image are multiples of 32, plus 1.
"""

import mmpose_ext  # noqa: F401  # isort: skip  first: it repairs the others
import cv2
import torch
from rich.progress import track

from mmpose_ext.checks import check_output_file
from mmpose_ext.converters import make_parser, write_weights
from mmpose_ext.converters.posenet import (
    calibrate_norms,
    fill_mobilenet,
    read_posenet,
)
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.inference.files import list_images
from mmpose_ext.models.backbones import MobileNetV1


def read_images(folder, size):
    """Yield normalised images of (1, 3, size, size)."""
    for path in track(list_images(folder), 'Calibrating'):
        image = cv2.imread(str(path))
        if image is None:
            raise InputError(f"image '{path}' cannot be read")
        image = cv2.resize(image, (size, size))[..., ::-1].copy()
        yield torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1


def main(argv=None):
    parser = make_parser(__doc__, "PoseNet's graph model (.json)")
    parser.add_argument(
        '--images', metavar='FOLDER', help='calibrate the norms on its images'
    )
    parser.add_argument(
        '--size', type=int, default=257, help='sides of these images in px'
    )
    args = parser.parse_args(argv)
    check_output_file(args.dst, args.overwrite)
    convs = read_posenet(args.src)
    # The last layers of PoseNet are narrower than those of a MobileNet.
    width = len(convs[0][0]) / 32
    model = MobileNetV1(
        widen_factor=width, out_indices=(3,), act_cfg=dict(type='ReLU6')
    )
    fill_mobilenet(model, convs)
    if args.images:
        calibrate_norms(model, read_images(args.images, args.size))
    weights = {f'backbone.{k}': v for k, v in model.state_dict().items()}
    write_weights(args.dst, weights, args.src)
    print(
        f'{len(weights)} weights written to {args.dst}, for '
        f'widen_factor={width:g}'
    )


if __name__ == '__main__':
    run_tool(main)
