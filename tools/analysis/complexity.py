"""Parameters and convolution MACs of networks, as a Markdown table."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

import mmpose_ext  # noqa: F401  (before torchvision's users)
from mmpose_ext.analysis import (
    check_network,
    count_complexity,
    load_network,
)
from mmpose_ext.checks import check_output_file
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import run_tool
from mmpose_ext.files import write_atomic

_ROIS = (
    'A two-stage detector is counted for as many RoIs as the '
    'test_cfg.rpn.max_per_img of its config says, 1000 as a rule, and its '
    'heads of masks and of keypoints for 100.'
)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, epilog=_ROIS)
    parser.add_argument(
        'configs',
        nargs='+',
        metavar='CONFIG',
        help='path, base name of a config of mmpose_ext or MMPose, or '
        'PACKAGE::PATH',
    )
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='input in pixels (default: as in the pipeline of each config)',
    )
    parser.add_argument(
        '--linear',
        action='store_true',
        help='add a column that counts linear layers too',
    )
    parser.add_argument('--out', help='Markdown file to write')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an existing --out'
    )
    return parser.parse_args()


def make_table(rows: list, linear: bool = False) -> str:
    """Markdown of (name, (H, W), Complexity) rows."""
    header = ['config', 'input (HxW)', 'params (M)', 'MACs (1e9)', 'MACs (Gi)']
    if linear:
        header.append('with linear layers (1e9)')
    table = [header, ['---'] * len(header)]
    for name, (height, width), cost in rows:
        row = [
            name,
            f'{height}x{width}',
            f'{cost.params / 1e6:.3f}',
            f'{cost.macs / 1e9:.3f}',
            f'{cost.macs / 2**30:.3f}',
        ]
        if linear:
            row.append(f'{(cost.macs + cost.linear_macs) / 1e9:.3f}')
        table.append(row)
    return ''.join(f'| {" | ".join(row)} |\n' for row in table)


def main():
    args = parse_args()
    if args.out:
        check_output_file(args.out, args.overwrite)
    jobs = []
    for name in args.configs:
        cfg = load_config(name)
        jobs.append((name, cfg, check_network(cfg, name, args.shape)))

    rows = []
    # stdout is the table's.
    with Progress(console=Console(stderr=True)) as progress:
        for name, cfg, shape in progress.track(jobs, description='counting'):
            network, images, kwargs = load_network(cfg, name, shape)
            cost = count_complexity(network, images, **kwargs)
            rows.append((Path(cfg.filename).stem, shape, cost))
    table = make_table(rows, args.linear)
    print(table, end='')
    if args.out:
        write_atomic(args.out, table.encode())


if __name__ == '__main__':
    run_tool(main)
