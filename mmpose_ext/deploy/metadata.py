"""What an exported file carries besides the network, as text."""

import ast
import math
from typing import Any, Sequence

import numpy as np
from mmengine.config import Config
from mmpose.models.pose_estimators.base import BasePoseEstimator
from mmpose.models.utils import check_and_update_config

from ..errors import InputError
from ..version import __version__

KEY = 'mmpose_ext'
# Raised where older readers would misread a file.
FORMAT = 1
_ARRAY = '__array__'
_KEYS = (
    *('structure', 'weights', 'model', 'pipeline', 'dataset_meta'),
    *('kind', 'parts'),
)


def pack(value: Any) -> str:
    """Write plain values and arrays as text.

    Args:
        value (Any): Dicts, lists, tuples, numbers, strings, None, and arrays.

    Returns:
        str: A Python literal.

    Raises:
        InputError: A value is of another kind.
    """
    return repr(_plain(value))


def unpack(text: str, path: str) -> dict:
    """Read what :func:`pack` has made of a dict; nothing is executed.

    Args:
        text (str): The text.
        path (str): The file that it is of, for the message.

    Raises:
        InputError: The text is not of this form, or a newer version's.
    """
    try:
        value = _restore(ast.literal_eval(text))
        if not isinstance(value, dict):
            raise ValueError(f'expected a dict, got {type(value).__name__}')
    except (
        *(ValueError, SyntaxError, TypeError, KeyError),
        *(MemoryError, RecursionError),
    ) as e:
        raise InputError(
            f"exported file '{path}' is broken: what it tells of its model "
            f'cannot be read ({e})'
        ) from e
    if value.get('format') != FORMAT:
        raise InputError(
            f"exported file '{path}' is of format {value.get('format')}, "
            f'expected {FORMAT}: export it again with this version '
            f'({__version__})'
        )
    missing = [key for key in _KEYS if key not in value]
    if missing:
        raise InputError(
            f"exported file '{path}' is broken: it lacks {', '.join(missing)}"
        )
    return value


def describe(
    model: BasePoseEstimator,
    structure: str,
    weights: int,
    kind: str,
    parts: Sequence[str],
) -> dict:
    """All that the model of an exported file needs besides its network.

    Args:
        model (BasePoseEstimator): As of
            :func:`~mmpose_ext.inference.poses.load_pose_model`.
        structure (str): See :func:`~mmpose_ext.deploy.network.unflatten`.
        weights (int): A checksum of the weights, which tells which files
            belong together.
        kind (str): ``'topdown'`` or ``'bottomup'``.
        parts (Sequence[str]): Names of the parts beside the network.
    """
    config = model.cfg
    estimator = _as_dict(config.model)
    # Heads of older configs have settings that are a neck's.
    estimator['head'] = check_and_update_config(
        estimator.get('neck'), estimator['head']
    )[1]
    # What is in the network, or of no use without training.
    for key in (
        'type',
        '_scope_',
        'backbone',
        'neck',
        'init_cfg',
        'train_cfg',
    ):
        estimator.pop(key, None)
    pipeline = config.test_dataloader.dataset.pipeline
    return dict(
        format=FORMAT,
        version=__version__,
        structure=structure,
        weights=weights,
        kind=kind,
        parts=tuple(parts),
        model=estimator,
        pipeline=[_as_dict(step) for step in pipeline],
        dataset_meta=dict(model.dataset_meta),
    )


def _as_dict(value: Any) -> Any:
    return Config(dict(value=value)).to_dict()['value']


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {_ARRAY: value.tolist(), 'dtype': str(value.dtype)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    finite = not isinstance(value, float) or math.isfinite(value)
    if finite and isinstance(value, (bool, int, float, str, type(None))):
        return value
    raise InputError(
        'only configs of plain and finite values can be exported, got '
        f'{type(value).__name__}: {value}'
    )


def _restore(value: Any) -> Any:
    if isinstance(value, dict):
        if _ARRAY in value:
            return np.array(value[_ARRAY], dtype=value['dtype'])
        return {k: _restore(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_restore, value))
    return value
