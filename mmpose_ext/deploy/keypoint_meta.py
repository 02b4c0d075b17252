"""The ``dataset_meta`` of an exported model, which describes keypoints."""

from typing import Any, Dict, Tuple, Union

import numpy as np

MAX_KEYPOINTS = 2**10
_MAX_TEXT = 200
# As MMPose's ``parse_pose_metainfo`` makes them: shapes with K keypoints, L
# links and any number of ids; the kinds of numbers; and what they are below.
_ARRAYS: Dict[str, Tuple[Tuple[Union[str, int, None], ...], str, Any]] = {
    'upper_body_ids': ((None,), 'iu', 'K'),
    'lower_body_ids': ((None,), 'iu', 'K'),
    'flip_indices': (('K',), 'iu', 'K'),
    'flip_pairs': ((None, 2), 'iu', 'K'),
    'keypoint_colors': (('K', 3), 'iu', 256),
    'skeleton_links': (('L', 2), 'iu', 'K'),
    'skeleton_link_colors': (('L', 3), 'iu', 256),
    # Many datasets of MMPose's have none, some those of other keypoints.
    'dataset_keypoint_weights': ((None,), 'iuf', np.inf),
    'sigmas': ((None,), 'iuf', np.inf),
}
KEYS = (
    *('dataset_name', 'num_keypoints', 'num_skeleton_links'),
    *('keypoint_id2name', 'keypoint_name2id', *_ARRAYS),
)


def check_keypoint_meta(meta: Any) -> None:
    """Check that a ``dataset_meta`` describes keypoints and nothing else.

    MMPose copies all of it into the dict that its transforms work on, where an
    entry of another name could replace the image or its path.

    Args:
        meta (Any): The ``dataset_meta``.

    Raises:
        ValueError: Names the first entry that is wrong.
    """
    if not isinstance(meta, dict) or 'num_keypoints' not in meta:
        raise ValueError(
            'dataset_meta is no dict with num_keypoints, got '
            f'{type(meta).__name__}'
        )
    unknown = [key for key in meta if key not in KEYS]
    if unknown:
        raise ValueError(
            f'dataset_meta has {unknown[0]!r}, expected no more than '
            f'{", ".join(KEYS)}'
        )
    number = meta['num_keypoints']
    if type(number) is not int or not 0 < number <= MAX_KEYPOINTS:
        raise _wrong('num_keypoints', f'a number up to {MAX_KEYPOINTS}')
    name = meta.get('dataset_name', '')
    if not isinstance(name, str) or len(name) > _MAX_TEXT:
        raise _wrong('dataset_name', f'up to {_MAX_TEXT} characters')
    _check_names(meta, number)
    links = len(_listed(meta.get('skeleton_links', ())))
    if meta.get('num_skeleton_links', links) != links:
        raise _wrong('num_skeleton_links', f'{links}, that of skeleton_links')
    sizes = dict(K=number, L=links)
    for key in _ARRAYS.keys() & meta.keys():
        _check_array(key, meta[key], sizes)
    flip = list(meta.get('flip_indices', ()))
    if flip and sorted(flip) != list(range(number)):
        raise _wrong('flip_indices', 'each keypoint once')


def _check_names(meta: dict, number: int) -> None:
    ids = set(range(number))
    names = meta.get('keypoint_id2name', {i: str(i) for i in ids})
    good = (
        isinstance(names, dict)
        and all(type(i) is int for i in names)
        and names.keys() == ids
        and all(
            isinstance(n, str) and len(n) <= _MAX_TEXT for n in names.values()
        )
    )
    if not good:
        raise _wrong('keypoint_id2name', f'a name for each of {number} ids')
    back = {name: i for i, name in names.items()}
    if (
        'keypoint_id2name' in meta
        and meta.get('keypoint_name2id', back) != back
    ):
        raise _wrong('keypoint_name2id', 'the inverse of keypoint_id2name')


def _check_array(key: str, value: Any, sizes: Dict[str, int]) -> None:
    shape, kinds, limit = _ARRAYS[key]
    limit = sizes.get(limit, limit)
    expected = [sizes.get(n, n) for n in shape]
    # Empty lists of pairs have one axis.
    array = np.asarray(_listed(value))
    good = len(array) == 0 or (
        array.ndim == len(shape)
        and array.dtype.kind in kinds
        and array.min() >= 0
        and array.max() < limit
    )
    fits = all(
        n is None or m == n
        for n, m in zip(expected[: array.ndim], array.shape)
    )
    if not (good and fits):
        text = ', '.join('any' if n is None else str(n) for n in expected)
        raise _wrong(key, f'numbers from 0 below {limit} of shape ({text})')


def _listed(value: Any) -> Any:
    good = isinstance(value, (list, tuple)) or np.ndim(value)
    return value if good else [None]


def _wrong(key: str, expected: str) -> ValueError:
    return ValueError(f'dataset_meta.{key} is wrong, expected {expected}')
