"""Command line options of both training and testing."""

import argparse
import os
import os.path as osp
from typing import Optional, Sequence

from mmengine.config import Config, DictAction

from ..errors import InputError
from .config import load_config


def parse_args(
    parser: argparse.ArgumentParser, argv: Optional[Sequence[str]] = None
) -> argparse.Namespace:
    """Add the options that both tools have, and parse the command line.

    Args:
        parser (ArgumentParser): With the tool's own arguments.
        argv (Sequence[str], optional): Default: the process's arguments.

    Returns:
        Namespace: The arguments.
    """
    parser.add_argument(
        '--work-dir',
        help='folder for logs and results; default: the one of the config, '
        'or work_dirs/ and the name of the config',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='replace values of the config, such as '
        'train_dataloader.batch_size=8; a list is written as key="[a,b]"',
    )
    parser.add_argument(
        '--show-dir',
        help='folder, inside the log folder of the run, for pictures of the '
        'predictions',
    )
    parser.add_argument(
        '--show', action='store_true', help='show the predictions in a window'
    )
    parser.add_argument(
        '--interval',
        type=int,
        default=1,
        help='draw every n-th sample (default: 1)',
    )
    parser.add_argument(
        '--wait-time',
        type=float,
        default=1,
        help='seconds that a window stays (default: 1)',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what has started the processes of a distributed run',
    )
    # torch.distributed.launch passes the first or, since torch 2.0, the
    # second spelling.
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help=argparse.SUPPRESS,
    )
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def read_config(args: argparse.Namespace) -> Config:
    """Load the config that a command line names, with its common options.

    The values of ``--cfg-options`` are not among them: a tool merges them
    last, with :func:`merge_cfg_options`.

    Args:
        args (Namespace): As from :func:`parse_args`, and ``config``.

    Returns:
        Config: The config.

    Raises:
        InputError: It is missing, or is not a config.
    """
    cfg = load_config(args.config)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        name = osp.splitext(osp.basename(args.config))[0]
        cfg.work_dir = osp.join('work_dirs', name)
    return cfg


def merge_cfg_options(cfg: Config, options: dict) -> None:
    """Replace values of a config by ``--cfg-options``, in place.

    Raises:
        InputError: A key goes through something that is not a dict or list.
    """
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, IndexError) as e:
        raise InputError(f'--cfg-options {options}: {e}') from e


def draw_predictions(
    cfg: Config, args: argparse.Namespace, training: bool = False
) -> None:
    """Enable the hook that draws, if ``--show`` or ``--show-dir`` is given.

    Args:
        cfg (Config): The config, changed in place.
        args (Namespace): As from :func:`parse_args`.
        training (bool): Whether the validation is drawn, of a training.
            Defaults to ``False``.

    Raises:
        InputError: The config has no such hook, or its hook cannot draw
            into a folder or at an interval.
    """
    if not (args.show or args.show_dir):
        return
    if not _is_of_mmdet(cfg):
        hook = _default_hook(cfg, 'visualization', 'PoseVisualizationHook')
        hook.update(enable=True, out_dir=args.show_dir)
    elif training and args.show_dir:
        raise InputError(
            f'--show-dir {args.show_dir}: MMDetection draws validations into '
            "the log folder's vis_data/vis_image only, for which to ask with "
            '--cfg-options default_hooks.visualization.draw=True'
        )
    elif not training and args.interval != 1:
        raise InputError(
            f'--interval {args.interval}: MMDetection draws every image that '
            'is tested; leave it out'
        )
    else:
        hook = _default_hook(cfg, 'visualization', 'DetVisualizationHook')
        hook.update(draw=True, test_out_dir=args.show_dir)
    hook.update(show=args.show, interval=args.interval)
    if args.show:
        hook['wait_time'] = args.wait_time


def analyse_bad_cases(cfg: Config, args: argparse.Namespace) -> None:
    """Enable the hook that collects the worst predictions.

    Args:
        cfg (Config): The config, changed in place.
        args (Namespace): As from :func:`parse_args`.

    Raises:
        InputError: The config has no such hook, or is one of MMDetection.
    """
    if _is_of_mmdet(cfg):
        raise InputError(
            '--badcase is for the pose models of MMPose; this config has '
            "default_scope='mmdet'"
        )
    hook = _default_hook(cfg, 'badcase', 'BadCaseAnalysisHook')
    hook.update(enable=True, show=args.show, interval=args.interval)
    if args.show:
        hook['wait_time'] = args.wait_time
    if not hook.get('metric'):
        by_loss = hook.get('metric_type', 'loss') == 'loss'
        head = cfg.model.get('head', {})
        metric = head.get('loss') if by_loss else cfg.get('test_evaluator')
        if metric is None:
            place = 'model.head.loss' if by_loss else 'test_evaluator'
            raise InputError(
                f'--badcase judges by {place}, which the config does not '
                'have; give default_hooks.badcase.metric'
            )
        hook['metric'] = metric


def _is_of_mmdet(cfg: Config) -> bool:
    kind = str(cfg.get('model', {}).get('type'))
    return cfg.get('default_scope') == 'mmdet' or kind.startswith('mmdet.')


def _default_hook(cfg: Config, name: str, type_: str) -> dict:
    hook = cfg.get('default_hooks', {}).get(name)
    if hook is None:
        raise InputError(
            f'the config has no default_hooks.{name}; add {name}=dict('
            f"type='{type_}') there"
        )
    return hook
