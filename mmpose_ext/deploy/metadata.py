"""The description that an exported file carries, as text."""

import ast
import math
import re
import reprlib
from typing import Any, Sequence

import numpy as np
from mmengine.config import Config
from mmpose.models.pose_estimators.base import BasePoseEstimator
from mmpose.models.utils import check_and_update_config

from ..errors import InputError
from ..version import __version__
from .declaration import FILE_KEYS, plain_name
from .keypoint_meta import KEYS as META_KEYS
from .network import kind_of

KEY = 'mmpose_ext'
# Raised where older readers would misread a file.
FORMAT = 1
# Of the text and the brackets in it. Whole-body poses take 20,000 characters.
MAX_LENGTH = 2**18
MAX_DEPTH = 32
_ARRAY = '__array__'
_DTYPE = re.compile('bool|u?int(8|16|32|64)|float(16|32|64)')
# All that pack writes: brackets, separators, and what stands between them.
_TOKEN = re.compile(
    r"""\s*(?:(?P<open>[\[({])|(?P<close>[\])}])|(?P<next>[,:])|
    (?P<value>None|True|False|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|
    -?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:e[+-]?[0-9]{1,3})?))\s*""",
    re.VERBOSE,
)
_LEFT_OUT = (
    *('type', '_scope_', 'backbone', 'neck', 'init_cfg', 'train_cfg'),
    'use_syncbn',
)
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

    Whether a model may be built from it is checked by
    :func:`~mmpose_ext.deploy.declaration.check_declaration`.

    Args:
        text (str): The text.
        path (str): The file that it is of, for the message.

    Raises:
        InputError: The text is not of this form, or a newer version's.
    """
    try:
        _check_text(text)
        value = _restore(ast.literal_eval(text))
        if not isinstance(value, dict):
            raise ValueError(f'expected a dict, got {type(value).__name__}')
    except (
        *(ValueError, SyntaxError, TypeError, KeyError),
        *(MemoryError, RecursionError, OverflowError),
    ) as e:
        raise InputError(
            f"exported file '{path}' is broken: its description of the model "
            f'cannot be parsed ({e})'
        ) from e
    found = value.get('format')
    # Arrays have no single truth value.
    if type(found) is not int or found != FORMAT:
        raise InputError(
            f"exported file '{path}' is of format {reprlib.repr(found)}, "
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
    parts: Sequence[str],
) -> dict:
    """All that the model of an exported file needs besides its network.

    Args:
        model (BasePoseEstimator): As of
            :func:`~mmpose_ext.inference.poses.load_pose_model`.
        structure (str): See :func:`~mmpose_ext.deploy.network.unflatten`.
        weights (int): A checksum of the weights; files with the same belong
            together.
        parts (Sequence[str]): Names of the parts beside the network.

    Raises:
        InputError: The model has settings that cannot be exported.
    """
    config = model.cfg
    estimator = _as_dict(config.model)
    # Heads of older configs have settings that are a neck's.
    estimator['head'] = check_and_update_config(
        estimator.get('neck'), estimator['head']
    )[1]
    # What is in the network, or of no use without training.
    for key in _LEFT_OUT:
        estimator.pop(key, None)
    if estimator.pop('metainfo', None):
        raise InputError(
            'a model with its own metainfo cannot be exported: it replaces '
            'that of the images in every prediction'
        )
    expansion = estimator['head'].get('expansion') or {}
    if 'metainfo' in expansion:  # a file, which is not taken along
        expansion['sigmas'] = model.head.expansion.sigmas.tolist()
    (estimator.get('data_preprocessor') or {}).pop('batch_augments', None)
    pipeline = config.test_dataloader.dataset.pipeline
    return dict(
        format=FORMAT,
        version=__version__,
        structure=structure,
        weights=weights,
        kind=kind_of(model),
        parts=tuple(parts),
        model=_declarative(estimator),
        pipeline=[_declarative(_as_dict(step)) for step in pipeline],
        dataset_meta={
            key: value
            for key, value in model.dataset_meta.items()
            if key in META_KEYS
        },
    )


def _declarative(value: Any) -> Any:
    """Registered names for classes, without what reads files.

    Images come as arrays, and weights are in the network.
    """
    if isinstance(value, dict):
        return {
            key: plain_name(item) if key == 'type' else _declarative(item)
            for key, item in value.items()
            if key not in (*FILE_KEYS, '_scope_')
        }
    if isinstance(value, (list, tuple)):
        return type(value)(map(_declarative, value))
    return value


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


def _check_text(text: str) -> None:
    """Refuse what could exhaust or crash Python's parser.

    That is deep nesting, and chains of operators, calls or indices, which
    are as deep for the parser.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(
            f'it has {len(text)} characters, expected at most {MAX_LENGTH}'
        )
    depth, position, may_begin = 0, 0, True
    while position < len(text):
        token = _TOKEN.match(text, position)
        begins = token and token.lastgroup in ('open', 'value')
        if token is None or (begins and not may_begin):
            raise ValueError(
                f'unexpected {text[position : position + 20]!r} at character '
                f'{position}'
            )
        may_begin = token.lastgroup in ('open', 'next')
        depth += (token.lastgroup == 'open') - (token.lastgroup == 'close')
        if depth > MAX_DEPTH:
            raise ValueError(f'it has more than {MAX_DEPTH} nested brackets')
        position = token.end()


def _restore(value: Any) -> Any:
    if isinstance(value, dict):
        if _ARRAY in value:
            return _restore_array(value[_ARRAY], value['dtype'])
        return {k: _restore(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_restore, value))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f'expected finite numbers, got {value}')
    return value


def _restore_array(values: Any, dtype: str) -> np.ndarray:
    if not _DTYPE.fullmatch(dtype):
        raise ValueError(f"an array is of numbers, got the dtype '{dtype}'")
    array = np.array(values, dtype=dtype)
    if not np.isfinite(array).all():
        raise ValueError('expected finite numbers in an array')
    return array
