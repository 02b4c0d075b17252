"""Draw the toy persons: small pictures of people with all annotations."""

import argparse
import time

from mmpose_ext.errors import run_tool
from mmpose_ext.synthetic import make_dataset


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'out', nargs='?', default='data/toy_persons', help='output folder'
    )
    parser.add_argument(
        '--train', type=int, default=800, help='training images'
    )
    parser.add_argument(
        '--val', type=int, default=200, help='validation images'
    )
    parser.add_argument('--seed', type=int, default=0, help='not negative')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(256, 192),
        metavar=('WIDTH', 'HEIGHT'),
        help='size of the images in px',
    )
    parser.add_argument(
        '--lip',
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write single persons in LIP's layout as well",
    )
    parser.add_argument('--workers', type=int, default=1, help='processes')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace toy persons made with other settings',
    )
    return parser.parse_args()


def main() -> None:
    """Write the data set that the command line asks for."""
    args = parse_args()
    start = time.perf_counter()
    made = make_dataset(
        args.out,
        num_train=args.train,
        num_val=args.val,
        seed=args.seed,
        size=tuple(args.size),
        lip=args.lip,
        workers=args.workers,
        overwrite=args.overwrite,
        progress=True,
    )
    if not made:
        print(f'{args.out} is complete already, nothing to do')
        return
    seconds = time.perf_counter() - start
    print(f'{args.train + args.val} images in {seconds:.1f} s: {args.out}')


if __name__ == '__main__':
    run_tool(main)
