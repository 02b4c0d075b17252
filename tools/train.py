"""Train a model: ``tools/train.py`` of MMPose with this package loaded."""

import argparse
import logging
from typing import Union

import mmpose_ext  # isort: skip  first: it repairs the others
import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner

from mmpose_ext.checks import (
    check_checkpoint_file,
    check_config,
    check_output_folder,
    explain_errors,
    find_whole_checkpoint,
)
from mmpose_ext.engine.command_line import (
    draw_predictions,
    merge_cfg_options,
    parse_args,
    read_config,
)
from mmpose_ext.engine.hooks import StrictCheckpointHook
from mmpose_ext.engine.no_detections import accept_no_detections
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import naming_output


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Train a pose model.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from a checkpoint; without a name (or with "auto"), from '
        'the last one in the work folder that is whole, or from the start if '
        'there is none',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const=True,
        choices=['float16', 'bfloat16'],
        help='train in mixed precision; without a type, in that of the '
        'config, or in float16 on a GPU and bfloat16 on a CPU. Validation '
        'stays in single precision',
    )
    parser.add_argument(
        '--no-validate',
        action='store_true',
        help='do not evaluate during the training',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size of all processes '
        'over the base_batch_size of the config',
    )
    return parser


def use_amp(cfg, dtype: Union[str, bool]) -> None:
    """Replace the optimizer wrapper by the one for mixed precision.

    Args:
        cfg (Config): The config, changed in place.
        dtype (str | bool): The type, ``True`` for the default one.
    """
    wrapper = cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    plain = (OptimWrapper, AmpOptimWrapper, 'OptimWrapper', 'AmpOptimWrapper')
    if kind not in plain:
        raise InputError(f'--amp cannot replace the optim_wrapper {kind}')
    on_cpu = get_device() == 'cpu'
    if dtype is True:
        fallback = 'bfloat16' if on_cpu else 'float16'
        dtype = wrapper.get('dtype') or fallback
    if on_cpu and dtype not in ('bfloat16', torch.bfloat16):
        raise InputError(
            f'--amp {dtype} needs a GPU, and there is none: autocast on a CPU '
            'has bfloat16 only, see --amp bfloat16'
        )
    wrapper.update(type='AmpOptimWrapper', dtype=dtype)
    wrapper.setdefault('loss_scale', 'dynamic')


def scale_lr(cfg) -> None:
    """Enable MMEngine's scaling of the learning rate."""
    if not cfg.get('auto_scale_lr', {}).get('base_batch_size'):
        raise InputError(
            '--auto-scale-lr needs auto_scale_lr.base_batch_size in the config'
        )
    cfg.auto_scale_lr.enable = True


def resume(cfg, checkpoint: str) -> None:
    """Set where a run resumes from; 'auto' may mean from the start."""
    if checkpoint == 'auto':
        checkpoint = find_whole_checkpoint(cfg.work_dir)
    cfg.resume = checkpoint is not None
    if cfg.resume:
        cfg.load_from = checkpoint
    else:
        print_log(
            f"there is no whole checkpoint in '{cfg.work_dir}': the training "
            'starts from scratch',
            logger='current',
            level=logging.WARNING,
        )


def configure(args: argparse.Namespace):
    """Load the config and apply the command line to it."""
    cfg = read_config(args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        use_amp(cfg, args.amp)
    if args.auto_scale_lr:
        scale_lr(cfg)
    draw_predictions(cfg, args, training=True)
    merge_cfg_options(cfg, args.cfg_options)
    if args.resume:
        resume(cfg, args.resume)
    elif cfg.get('resume') and not cfg.get('load_from'):
        resume(cfg, 'auto')
    return cfg


def main(argv=None) -> None:
    args = parse_args(make_parser(), argv)
    cfg = configure(args)
    if cfg.get('load_from'):
        check_checkpoint_file(cfg.load_from)
    accept_no_detections(cfg, 'val', check_config(cfg, 'train'))

    check_output_folder(cfg.work_dir)
    mmpose_ext.compat.setup_cpu_distributed(cfg, args.launcher)
    with explain_errors(cfg), naming_output(cfg.work_dir):
        runner = Runner.from_cfg(cfg)
        if cfg.get('resume'):
            runner.register_hook(StrictCheckpointHook(cfg.load_from, True))
        runner.train()


if __name__ == '__main__':
    run_tool(main)
