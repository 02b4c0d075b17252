"""Write the small file of a trained pose model that the package ships.

It holds the weights alone, kernels in half precision, under the name of the
config; what resumes a training is left out. Give mmpose_ext/weights as
OUT_DIR, and the demos know the model by its name.
"""

import argparse
from pathlib import Path

import mmpose_ext  # noqa: F401  # isort: skip  first: it repairs the others

from mmpose_ext.checks import check_output_file
from mmpose_ext.converters import halve_weights, write_weights
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import run_tool
from mmpose_ext.inference.poses import load_pose_model
from mmpose_ext.inference.shipped import LARGEST_FILE


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config of a pose model')
    parser.add_argument('checkpoint', help='file or URL of its weights')
    parser.add_argument('out_dir', help='folder of the file')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an existing file'
    )
    args = parser.parse_args(argv)
    config = load_config(args.config)
    name = Path(config.filename).name.removesuffix('.py')
    path = Path(args.out_dir, f'{name}.pth')
    check_output_file(str(path), args.overwrite)
    model = load_pose_model(config, args.checkpoint, 'cpu')
    weights = halve_weights(model.state_dict(), args.checkpoint)
    write_weights(str(path), weights, args.checkpoint, LARGEST_FILE)
    print(f'{path}: {path.stat().st_size / 1e6:.2f} MB')


if __name__ == '__main__':
    run_tool(main)
