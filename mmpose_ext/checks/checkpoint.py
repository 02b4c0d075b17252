"""Check a checkpoint before a model works with it."""

import os.path as osp
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import List, Mapping, Optional

from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import find_latest_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from ..compat.checkpoint_file import find_weights
from ..errors import InputError
from .json_files import check_file
from .keypoint_numbers import find_dicts, type_name

_SHOWN = 5


def check_checkpoint_file(path: str) -> None:
    """Check that a checkpoint is there.

    Args:
        path (str): A file, or an address that MMEngine can load from.

    Raises:
        InputError: The file is missing or empty.
    """
    if '://' not in path:
        check_file(path, 'checkpoint')


def check_pretrained(cfg) -> None:
    """Check that the weights are there that a training begins with.

    What is missing can be made, perhaps: a config may say how under
    ``made_by``, a dict from files to commands.

    Args:
        cfg (Config): The whole config.

    Raises:
        InputError: A file that an ``init_cfg`` of the model names is missing
            or empty.
    """
    for part, place in find_dicts(cfg.get('model'), 'model'):
        path = part.get('checkpoint')
        if type_name(part) != 'Pretrained' or not path or '://' in path:
            continue
        try:
            check_file(
                osp.expanduser(path), f'checkpoint ({place}.checkpoint)'
            )
        except InputError as e:
            command = (cfg.get('made_by') or {}).get(path)
            if command is None:
                raise
            raise InputError(f'{e}; make it by: {command}') from e


def find_whole_checkpoint(work_dir: str) -> Optional[str]:
    """Find the last checkpoint of a run that was written to its end.

    This is the one that MMEngine names in ``last_checkpoint``, unless the
    run was killed while it wrote or replaced that file. One that is not on
    a local disk is taken for whole.

    Args:
        work_dir (str): The folder of the run.

    Returns:
        str | None: The checkpoint, or None if the folder has none.
    """
    numbered = [
        (int(found[1]), str(path))
        for path in Path(work_dir).glob('*.pth')
        if (found := re.fullmatch(r'(?:epoch|iter)_(\d+)', path.stem))
    ]
    candidates = [path for _, path in sorted(numbered, reverse=True)]
    named = find_latest_checkpoint(work_dir)
    if named and '://' in named:
        return named
    if named:
        candidates.insert(0, named)
    return next(filter(zipfile.is_zipfile, candidates), None)


def check_state_dict(
    model: nn.Module, state_dict: Mapping, source: str
) -> None:
    """Load weights into a model, and raise unless all of them fit.

    The conversions of older weights that modules register (as MMPose's heads
    do) take place before the comparison.

    Args:
        model (nn.Module): The model; a distributed wrapper is looked into.
        state_dict (Mapping[str, Tensor]): The weights.
        source (str): Where they come from, for the message.

    Raises:
        InputError: Lists the first missing keys, unexpected keys and keys
            of another shape. The model is then partly loaded.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    weights = OrderedDict(
        (re.sub(r'^module\.', '', key), value)
        for key, value in state_dict.items()
    )
    # Tells the modules which conversions of older weights to make.
    weights._metadata = getattr(state_dict, '_metadata', OrderedDict())
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as e:
        raise InputError(
            f"checkpoint '{source}' is of another architecture than the "
            f"config's {type(model).__name__}:\n{_summary(str(e))}"
        ) from e


def load_checkpoint_strictly(model: nn.Module, path: str) -> dict:
    """Load a checkpoint into a model, and raise unless all of it fits.

    Args:
        model (nn.Module): The model.
        path (str): A file, or an address that MMEngine can load from.

    Returns:
        dict: The whole checkpoint.

    Raises:
        InputError: The file is missing, broken or of another architecture.
    """
    check_checkpoint_file(path)
    checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    check_state_dict(model, find_weights(checkpoint, path), path)
    return checkpoint


def _summary(error: str) -> str:
    """Shorten torch's list of all keys that do not fit."""
    lines = [
        _keys(error, 'Missing', 'missing from the checkpoint'),
        _keys(error, 'Unexpected', 'unknown to the model'),
    ]
    shapes = re.findall(
        r'size mismatch for (\S+): .*?Size\((.*?)\).*?Size\((.*?)\)', error
    )
    if shapes:
        shown = [f'{k} {a} for {b}' for k, a, b in shapes[:_SHOWN]]
        lines.append(_line(shown, len(shapes), 'of another shape'))
    return '\n'.join(filter(None, lines)) or error


def _keys(error: str, kind: str, meaning: str) -> str:
    found = re.search(kind + r' key\(s\) in state_dict: (.*)', error)
    if found is None:
        return ''
    keys: List[str] = re.findall(r'"(.*?)"', found[1])
    return _line(keys[:_SHOWN], len(keys), meaning)


def _line(shown: List[str], number: int, meaning: str) -> str:
    more = ', ...' if number > len(shown) else ''
    return f'  {number} {meaning}: {", ".join(shown)}{more}'
