"""Checks of what a user gives, made before any work starts."""

import os
import os.path as osp
import tempfile
from contextlib import contextmanager
from typing import Iterator, List, Set

from ..errors import InputError
from .checkpoint import (
    check_checkpoint_file,
    check_pretrained,
    check_state_dict,
    find_whole_checkpoint,
    load_checkpoint_strictly,
)
from .coco import read_annotations
from .datasets import check_datasets, check_evaluators
from .detections import check_detections
from .images import explain_unreadable_images
from .json_files import check_file, read_json
from .keypoint_numbers import check_keypoint_numbers
from .type_names import check_type_names, explain_unknown_types

__all__ = [
    'check_checkpoint_file',
    'check_config',
    'check_detections',
    'check_file',
    'check_keypoint_numbers',
    'check_output_file',
    'check_output_folder',
    'check_state_dict',
    'check_type_names',
    'explain_errors',
    'explain_unknown_types',
    'explain_unreadable_images',
    'find_whole_checkpoint',
    'load_checkpoint_strictly',
    'read_annotations',
    'read_json',
]

_IN_EVERY_RUN = (
    'model',
    'model_wrapper_cfg',
    'default_hooks',
    'custom_hooks',
    'visualizer',
    'log_processor',
)
_IN_TRAINING = ('optim_wrapper', 'param_scheduler')


def check_config(cfg, mode: str) -> List[dict]:
    """Check what a config names: types, numbers of keypoints, and files.

    Args:
        cfg (Config): The config, after all overrides.
        mode (str): ``'train'`` (with validation, if the config has it) or
            ``'test'``: decides which parts are in use.

    Returns:
        list[dict]: The configs of those datasets whose detection file leaves
        no box to evaluate. That is a result, not a mistake.

    Raises:
        InputError: Names the first thing that is wrong.
    """
    wanted = ('train', 'val') if mode == 'train' else ('test',)
    splits = [s for s in wanted if cfg.get(f'{s}_dataloader') is not None]
    if wanted[0] not in splits:
        raise InputError(f'the config has no {wanted[0]}_dataloader')

    keys = [*_IN_EVERY_RUN, *(_IN_TRAINING if mode == 'train' else ())]
    for split in splits:
        keys += [f'{split}_{k}' for k in ('dataloader', 'evaluator', 'cfg')]
    check_type_names(cfg, keys)
    check_keypoint_numbers(cfg, splits)
    read: Set[str] = set()
    empty = check_datasets(cfg, splits, read)
    check_evaluators(cfg, [s for s in splits if s != 'train'], read)
    if mode == 'train':
        check_pretrained(cfg)
    return empty


def check_output_file(path: str, overwrite: bool = False) -> None:
    """Check that a result can be written without loss of an older one.

    Args:
        path (str): The file that is to be written.
        overwrite (bool): Whether it may replace an older one. Default: False.

    Raises:
        InputError: The file exists already, or a folder is in its place.
    """
    if osp.isdir(path):
        raise InputError(f"output file '{path}' is a folder")
    if osp.exists(path) and not overwrite:
        raise InputError(
            f"output file '{path}' exists already: choose another name, or "
            'give --overwrite'
        )


def check_output_folder(path: str) -> None:
    """Make a folder for results, and check that files can be written to it.

    Args:
        path (str): The folder.

    Raises:
        InputError: It cannot be made, or not be written to.
    """
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b'0')
    except OSError as e:
        # As in /proc, where it is "No such file or directory".
        raise InputError(
            f"folder '{path}' cannot be made or written to: {e.strerror}"
        ) from e


@contextmanager
def explain_errors(cfg) -> Iterator[None]:
    """Turn what only shows while a runner works into ``InputError`` s.

    These are images that cannot be read, and type names which are wrong at
    places where :func:`check_config` does not know the registry.

    Args:
        cfg (Config): The config of the runner.
    """
    with explain_unknown_types(cfg), explain_unreadable_images():
        yield
