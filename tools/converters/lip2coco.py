"""Convert LIP's single-person poses to a COCO keypoint file."""

import argparse

import mmpose_ext  # noqa: F401  (before MMPose's users)
from mmpose_ext.checks import check_output_file
from mmpose_ext.datasets.lip_dataset import LIP_CATEGORY, read_lip
from mmpose_ext.errors import run_tool
from mmpose_ext.files import write_json


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'csv', help="LIP's annotations, such as lip_train_set.csv"
    )
    parser.add_argument('img_dir', help='folder of their images')
    parser.add_argument('out', help='COCO file to write (JSON)')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an existing OUT'
    )
    return parser.parse_args()


def main():
    args = parse_args()
    check_output_file(args.out, args.overwrite)
    annotations = read_lip(args.csv, args.img_dir)
    images = [annotation.pop('image') for annotation in annotations]
    write_json(
        args.out,
        dict(
            images=images, annotations=annotations, categories=[LIP_CATEGORY]
        ),
    )
    print(f'{len(images)} images: {args.out}')


if __name__ == '__main__':
    run_tool(main)
