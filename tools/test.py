"""Evaluate a model: ``tools/test.py`` of MMPose with this package loaded."""

import argparse

import mmpose_ext  # isort: skip  first: it repairs the others
import mmengine
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.registry import METRICS
from mmengine.runner import Runner

from mmpose_ext.checks import (
    check_checkpoint_file,
    check_config,
    check_output_file,
    check_output_folder,
    explain_errors,
)
from mmpose_ext.deploy.pose_model import use_exported
from mmpose_ext.deploy.runtimes import is_exported
from mmpose_ext.engine.command_line import (
    analyse_bad_cases,
    draw_predictions,
    merge_cfg_options,
    parse_args,
    read_config,
)
from mmpose_ext.engine.fast_test import keep_freed_memory, use_fused_flip
from mmpose_ext.engine.hooks import FastTestHook, StrictCheckpointHook
from mmpose_ext.engine.no_detections import accept_no_detections
from mmpose_ext.engine.tta import use_tta
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import naming_output, write_atomic

_FORMATS = ('json', 'yaml', 'yml', 'pkl', 'pickle')


@METRICS.register_module(force=True)  # again, where it is run twice
class DumpWholeResults(DumpResults):
    """MMEngine's, with an atomic write."""

    def compute_metrics(self, results: list) -> dict:
        backend = dict(backend='atomic')
        mmengine.dump(results, self.out_file_path, backend_args=backend)
        return {}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Evaluate a pose model.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='checkpoint file, or a file of tools/deploy/export.py, whose '
        'model then replaces that of the config',
    )
    parser.add_argument(
        '--out', help=f'file for the metrics ({", ".join(_FORMATS)})'
    )
    parser.add_argument(
        '--dump', help='file for the predictions of all samples (pkl, pickle)'
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='let --out and --dump replace files that exist',
    )
    parser.add_argument(
        '--badcase',
        action='store_true',
        help='collect the worst predictions',
    )
    parser.add_argument(
        '--tta',
        nargs='*',
        type=float,
        metavar='SCALE',
        help='average the heatmaps of a top-down model over these scales of '
        'the input (default: 0.75 1 1.25) and its flipped image; tta_model '
        'and tta_pipeline of the config take precedence',
    )
    parser.add_argument(
        '--plain',
        action='store_true',
        help='run the network as it was trained; by default batch norms are '
        'folded into convolutions and a flip test takes one pass, which is '
        'faster, needs the memory of twice the batch, and changes results by '
        'rounding only',
    )
    return parser


def check_outputs(args: argparse.Namespace) -> None:
    """Check that the results can be written, before there are any."""
    for flag, path, formats in (
        ('--out', args.out, _FORMATS),
        ('--dump', args.dump, ('pkl', 'pickle')),
    ):
        if path is None:
            continue
        if not path.endswith(tuple(f'.{f}' for f in formats)):
            raise InputError(
                f"{flag} '{path}' must end in .{' or .'.join(formats)}"
            )
        check_output_file(path, args.overwrite)


def configure(args: argparse.Namespace):
    """Load the config and apply the command line to it."""
    cfg = read_config(args)
    cfg.load_from = args.checkpoint
    if args.badcase:
        analyse_bad_cases(cfg, args)
    draw_predictions(cfg, args)
    merge_cfg_options(cfg, args.cfg_options)
    return cfg


def main(argv=None) -> dict:
    args = parse_args(make_parser(), argv)
    check_outputs(args)
    check_checkpoint_file(args.checkpoint)
    cfg = configure(args)
    accept_no_detections(cfg, 'test', check_config(cfg, 'test'))
    exported = is_exported(args.checkpoint)
    if exported and args.tta is not None:
        raise InputError(
            f"--tta needs a network for images of any size, got '"
            f"{args.checkpoint}'"
        )
    if exported:
        use_exported(cfg, args.checkpoint)
    elif not args.plain:
        use_fused_flip(cfg)
        keep_freed_memory()
    if args.tta is not None:
        use_tta(cfg, args.tta)

    if args.dump:
        dump = dict(type='DumpWholeResults', out_file_path=args.dump)
        evaluator = cfg.test_evaluator
        metrics = evaluator if isinstance(evaluator, list) else [evaluator]
        cfg.test_evaluator = [*metrics, dump]

    check_output_folder(cfg.work_dir)
    mmpose_ext.compat.setup_cpu_distributed(cfg, args.launcher)
    with explain_errors(cfg), naming_output(cfg.work_dir):
        runner = Runner.from_cfg(cfg)
        if not exported:
            runner.register_hook(StrictCheckpointHook(args.checkpoint))
        if not (exported or args.plain):
            runner.register_hook(FastTestHook())
        metrics = runner.test()

    if args.out and is_main_process():
        format_ = args.out.rpartition('.')[2]
        text = mmengine.dump(metrics, file_format=format_)
        write_atomic(
            args.out, text if isinstance(text, bytes) else text.encode()
        )
    return metrics


if __name__ == '__main__':
    run_tool(main)
