"""Read other projects' weights, rename them, write them as MMEngine's."""

import argparse
import io
import math
import re
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from .. import version
from ..checks import check_checkpoint_file
from ..compat.checkpoint_file import find_weights, load_checkpoint
from ..errors import InputError
from ..files import write_atomic

_SHOWN = 5
Rules = Sequence[Tuple[str, Union[str, Callable[[re.Match], str]]]]


def make_parser(
    description: str, source: str = 'official checkpoint'
) -> argparse.ArgumentParser:
    """A parser of what all converters of weights are given.

    Args:
        description (str): The tool's docstring.
        source (str): What its argument ``src`` is. Defaults to
            ``'official checkpoint'``.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('src', help=source)
    parser.add_argument('dst', help='checkpoint to write')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an existing DST'
    )
    return parser


def read_weights(path: str) -> Dict[str, Tensor]:
    """Read the weights of a checkpoint, without running what it holds.

    They may stand alone or beside other things under ``state_dict``, and
    their names may begin with the ``module.`` of a distributed wrapper.

    Args:
        path (str): A local file.

    Returns:
        dict[str, Tensor]: The weights by name, on the CPU.

    Raises:
        InputError: The file is missing or broken, or holds no weights.
    """
    check_checkpoint_file(path)
    weights = find_weights(load_checkpoint(path, map_location='cpu'), path)
    for key, value in weights.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"checkpoint '{path}': expected weights by name, got a "
                f'{type(value).__name__} under {key!r}'
            )
    return {re.sub(r'^module\.', '', k): v for k, v in weights.items()}


def convert_weights(
    weights: Mapping[str, Tensor],
    module: nn.Module,
    rules: Rules,
    source: str,
) -> Dict[str, Tensor]:
    """Give weights the names that a module of ours has for them.

    What a norm counts its batches with may be missing, as torch before 0.4.1
    had none: it becomes 0.

    Args:
        weights (Mapping[str, Tensor]): The weights by their own names.
        module (nn.Module): What they are for; it is not changed, and may be
            on torch's ``meta`` device.
        rules (Sequence[tuple]): Patterns and replacements of ``re.sub``, one
            after the other, from a name in the module's state dict to that
            of the same weight in ``weights``.
        source (str): Where the weights come from, and as what, for messages.

    Returns:
        dict[str, Tensor]: A state dict that the module loads strictly.

    Raises:
        InputError: Names the first weights that are missing, unexpected or of
            another shape than the module's, by their own names.
    """
    expected = {}
    for ours, value in module.state_dict().items():
        theirs = ours
        for pattern, replacement in rules:
            theirs = re.sub(pattern, replacement, theirs)
        expected[theirs] = ours, value
    given = dict(weights)
    for key in expected.keys() - given.keys():
        if key.endswith('.num_batches_tracked'):
            given[key] = torch.tensor(0)

    missing = [k for k in expected if k not in given]
    unexpected = [k for k in given if k not in expected]
    shapes = [
        f'{key} {tuple(given[key].shape)} for {tuple(value.shape)}'
        for key, (_, value) in expected.items()
        if key in given and given[key].shape != value.shape
    ]
    if missing or unexpected or shapes:
        lines = [
            f'{source} do not fit:',
            _line(missing, 'missing'),
            _line(unexpected, 'unexpected'),
            _line(shapes, 'of another shape'),
        ]
        raise InputError('\n'.join(filter(None, lines)))
    return {ours: given[theirs] for theirs, (ours, _) in expected.items()}


def _line(found: List[str], meaning: str) -> str:
    if not found:
        return ''
    more = ', ...' if len(found) > _SHOWN else ''
    return f'  {len(found)} {meaning}: {", ".join(found[:_SHOWN])}{more}'


def halve_weights(
    weights: Mapping[str, Tensor], source: str
) -> Dict[str, Tensor]:
    """Cast kernels to half precision, except those with values above 65504.

    Biases and all of a norm stay as they are: they are few, and variances
    may also be too small for half precision. A kernel may be, too, but then
    a norm behind it, which adds 1e-5 to variances, does not raise it.

    Args:
        weights (Mapping[str, Tensor]): A state dict.
        source (str): The file that they come from, for messages.

    Returns:
        dict[str, Tensor]: A state dict; a model casts it back as it loads.

    Raises:
        InputError: Names the first weight that is not finite.
    """

    def halve(name: str, value: Tensor) -> Tensor:
        if not value.isfinite().all():
            raise InputError(
                f"checkpoint '{source}': {name} is not finite; has its "
                'training diverged?'
            )
        if value.dim() < 2 or not value.is_floating_point():
            return value
        half = value.half()
        return half if half.isfinite().all() else value

    return {name: halve(name, value) for name, value in weights.items()}


def write_weights(
    path: str,
    weights: Mapping[str, Tensor],
    source: str,
    largest: float = math.inf,
) -> None:
    """Write a checkpoint as MMEngine does, atomically.

    Args:
        path (str): The file; its folder is made.
        weights (Mapping[str, Tensor]): A state dict.
        source (str): The file that they come from; its name is noted.
        largest (float): Bytes that the file may have. Defaults to infinity.

    Raises:
        InputError: The file would be larger.
    """
    meta = dict(
        converted_from=Path(source).name,
        mmpose_ext_version=version.__version__,
    )
    content = io.BytesIO()
    torch.save(dict(state_dict=dict(weights), meta=meta), content)
    size = len(content.getvalue())
    if size > largest:
        raise InputError(
            f"'{path}' would have {size / 1e6:.2f} MB, expected at most "
            f'{largest / 1e6:g}: nothing is written'
        )
    write_atomic(path, content.getvalue())
