"""How much AP a model could gain if its keypoints moved a few pixels.

Tests a model like tools/test.py, and evaluates beside its poses the best ones
that lie in windows of k x k points around their keypoints: the empirical
upper bound of the LOGO-CAP paper. Works on bottom-up and top-down models.
"""

import argparse
import io
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Dict

import mmpose_ext  # noqa: F401  # isort: skip  before those that it repairs
from matplotlib.figure import Figure
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import METRICS

from mmpose_ext.checks import (
    check_checkpoint_file,
    check_config,
    check_output_file,
    explain_errors,
)
from mmpose_ext.engine.arguments import usable_device
from mmpose_ext.engine.command_line import merge_cfg_options
from mmpose_ext.engine.config import load_config
from mmpose_ext.engine.hooks import StrictCheckpointHook
from mmpose_ext.engine.no_detections import accept_no_detections
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.evaluation import EmptySafeCocoMetric, ExpansionUpperBound
from mmpose_ext.files import write_atomic, write_json

# Those whose evaluation the upper bound shares.
_COCO_METRICS = (CocoMetric, EmptySafeCocoMetric, ExpansionUpperBound)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        help='path, base name of a config of mmpose_ext or MMPose, or '
        'PACKAGE::PATH',
    )
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='its weights (default: random ones, with a warning)',
    )
    parser.add_argument(
        '--ksizes',
        nargs='+',
        type=int,
        default=[3, 5, 7, 9, 11],
        metavar='K',
        help='points of a window along an axis, odd (default: 3 5 7 9 11)',
    )
    parser.add_argument(
        '--out-dir',
        help='folder for expansion_upper_bound.png and .json, and for the '
        'log (default: work_dirs/ and the name of the config)',
    )
    parser.add_argument(
        '--device', type=usable_device, default='cpu', help='default: cpu'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace existing results'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='replace values of the config, such as '
        'test_dataloader.batch_size=8; a list is written as key="[a,b]"',
    )
    return parser.parse_args()


def check_ksizes(ksizes: list) -> None:
    for ksize in ksizes:
        if ksize < 1 or ksize % 2 == 0:
            raise InputError(f'--ksizes must be odd and positive, got {ksize}')


def use_upper_bound(cfg: Config, ksizes: list) -> None:
    """Replace the config's evaluator, but keep how it evaluates."""
    evaluator = cfg.test_evaluator
    metrics = evaluator if isinstance(evaluator, list) else [evaluator]
    found = [m for m in metrics if _class_of(m) in _COCO_METRICS]
    if len(found) != 1:
        raise InputError(
            f'expected one CocoMetric as test_evaluator, got {len(found)} '
            f'among {", ".join(str(m.get("type")) for m in metrics)}'
        )
    metric = dict(found[0], type='ExpansionUpperBound', ksizes=ksizes)
    if metric.get('format_only'):
        raise InputError(
            'the test_evaluator has format_only=True, but an upper bound '
            'needs ground truth'
        )
    metric.pop('prefix', None)
    cfg.test_evaluator = metric


def _class_of(metric: dict) -> type:
    name = metric.get('type')
    return METRICS.get(name) if isinstance(name, str) else name


def evaluate(cfg: Config, args: argparse.Namespace) -> Dict[str, float]:
    """Run the test; the metrics, without the prefix of their names."""
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if not args.checkpoint:
        # MMEngine loads what the config says of pre-trained weights for
        # training only.
        print(
            'warning: no checkpoint, the weights are random', file=sys.stderr
        )
        cfg.setdefault('randomness', dict(seed=0))
    # stdout is the table's.
    with explain_errors(cfg), redirect_stdout(sys.stderr):
        runner = Runner.from_cfg(cfg)
        if args.checkpoint:
            runner.register_hook(StrictCheckpointHook(args.checkpoint))
        runner.model.to(args.device)
        metrics = runner.test()
    return {k.removeprefix('coco/'): float(v) for k, v in metrics.items()}


def make_table(plain: float, bounds: Dict[int, float]) -> str:
    """Markdown of the AP of the poses, and of the best ones near them."""
    lines = [
        '| window | AP (%) | gap |',
        '| --- | --- | --- |',
        f'| none | {100 * plain:.2f} | |',
        *(
            f'| {k}x{k} | {100 * ap:.2f} | {100 * (ap - plain):+.2f} |'
            for k, ap in bounds.items()
        ),
    ]
    return '\n'.join(lines) + '\n'


def draw(plain: float, bounds: Dict[int, float], title: str) -> bytes:
    """A PNG of AP against window size."""
    # Not by pyplot, which would look for a display.
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    sizes = sorted(bounds)
    axes.plot(
        sizes, [100 * bounds[k] for k in sizes], 'o-', label='upper bound'
    )
    axes.axhline(100 * plain, color='grey', linestyle='--', label='model')
    axes.set(xlabel='window (points along an axis)', ylabel='AP (%)')
    axes.set_title(title, fontsize='small')
    axes.set_xticks(sizes)
    axes.grid(alpha=0.3)
    axes.legend()
    stream = io.BytesIO()
    figure.savefig(stream, format='png', dpi=150)
    return stream.getvalue()


def main():
    args = parse_args()
    check_ksizes(args.ksizes)
    ksizes = sorted(set(args.ksizes))
    cfg = load_config(args.config)
    merge_cfg_options(cfg, args.cfg_options)
    name = Path(cfg.filename).stem
    out = Path(args.out_dir or Path('work_dirs', name))
    cfg.work_dir = str(out)
    picture, report = (
        out / f'expansion_upper_bound.{kind}' for kind in ('png', 'json')
    )
    for path in (picture, report):
        check_output_file(str(path), args.overwrite)
    if args.checkpoint:
        check_checkpoint_file(args.checkpoint)
    if cfg.get('test_evaluator') is None:
        raise InputError(f"{args.config}: expected a 'test_evaluator'")
    accept_no_detections(cfg, 'test', check_config(cfg, 'test'))
    use_upper_bound(cfg, ksizes)

    metrics = evaluate(cfg, args)
    plain = metrics['AP']
    bounds = {k: metrics[f'upper_bound_k{k}/AP'] for k in ksizes}
    write_atomic(picture, draw(plain, bounds, name))
    content = dict(
        config=args.config,
        checkpoint=args.checkpoint,
        AP=plain,
        upper_bounds=bounds,
        metrics=metrics,
    )
    write_json(report, content)
    print(make_table(plain, bounds), end='')


if __name__ == '__main__':
    run_tool(main)
