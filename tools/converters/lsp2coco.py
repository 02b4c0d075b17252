"""Convert Leeds Sports Pose, or its extended set, to a COCO keypoint file."""

import argparse

import mmpose_ext  # noqa: F401  (before MMPose's users)
from mmpose_ext.checks import check_output_file
from mmpose_ext.datasets.lsp_dataset import read_lsp
from mmpose_ext.errors import run_tool
from mmpose_ext.files import write_json


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('mat', help='their joints.mat')
    parser.add_argument('img_dir', help='folder of their images')
    parser.add_argument('out', help='COCO file to write (JSON)')
    parser.add_argument(
        '--images',
        nargs=2,
        type=int,
        metavar=('FIRST', 'LAST'),
        help='numbers of the first and the last image; all by default',
    )
    parser.add_argument(
        '--skip-missing',
        action='store_true',
        help='leave out images that are not in IMG_DIR',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an existing OUT'
    )
    return parser.parse_args()


def main():
    args = parse_args()
    check_output_file(args.out, args.overwrite)
    content = read_lsp(args.mat, args.img_dir, args.images, args.skip_missing)
    write_json(args.out, content)
    print(
        f'{len(content["images"])} images, {len(content["annotations"])} '
        f'persons: {args.out}'
    )


if __name__ == '__main__':
    run_tool(main)
