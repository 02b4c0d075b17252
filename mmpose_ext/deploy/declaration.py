"""What the description of an exported model may contain.

A config may name any function of any module, which is then called: it is a
program. The description in an exported file is not trusted. It may name
the classes that MMPose's registries hold, at the places where their kinds
belong, with plain values as arguments, and that is checked before anything is
built from it.
"""

import inspect
import math
import re
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np
from mmcv.transforms import (
    BaseTransform,
    KeyMapper,
    LoadAnnotations,
    LoadImageFromFile,
    MultiScaleFlipAug,
    TestTimeAug,
)
from mmengine.model import (
    BaseAveragedModel,
    BaseDataPreprocessor,
    BaseModel,
)
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.datasets.transforms import Albumentation, LoadImage
from mmpose.datasets.transforms.mix_img_transforms import MixImageTransform
from mmpose.models.backbones.base_backbone import BaseBackbone
from mmpose.models.heads.base_head import BaseHead
from mmpose.registry import KEYPOINT_CODECS, MODELS, TRANSFORMS
from torch import nn

from .consistency import check_consistency, expect
from .keypoint_meta import check_keypoint_meta

# No layer, image or list of a pose network is as large.
MAX_NUMBER = 2**14
_NAME = re.compile('[A-Za-z][A-Za-z0-9_]*')
# Without what makes a path, a URL or a name in a module.
_WORD = re.compile('[A-Za-z0-9_ +-]{0,100}')
# Arguments that read weights or files, in any class.
FILE_KEYS = (
    *('init_cfg', 'pretrained', 'checkpoint', 'metainfo', 'from_file'),
    *('backend_args', 'file_client_args'),
)
# Arguments that name a class without a dict around it.
_NAMES_OF_TYPES = {'resize_type': 'transform', 'conv_type': 'layer'}
_SCOPE = '_scope_'


def check_declaration(metadata: dict) -> None:
    """Check that a description names nothing but the parts of a pose model.

    Args:
        metadata (dict): As of :func:`~mmpose_ext.deploy.metadata.unpack`.
            MMPose's scope, which older files name, is removed from it.

    Raises:
        ValueError: Names the first place where it contains anything else.
    """
    _check_head_lines(metadata)
    _check_model(metadata['model'])
    pipeline = metadata['pipeline']
    expect(isinstance(pipeline, list), 'pipeline', pipeline, 'a list')
    for i, step in enumerate(pipeline):
        _check_typed(step, f'pipeline[{i}]', 'transform', _in_pipeline)
    check_keypoint_meta(metadata['dataset_meta'])
    check_consistency(metadata)


def plain_name(kind: Any) -> Any:
    """The name by which an exported file can call a class of a config.

    Args:
        kind (Any): The ``type`` in a config: a class, or its name, with or
            without MMPose's scope or the modules before it. It is imported,
            as a config's is.

    Returns:
        Any: The name in MMPose's registries; if they do not hold it, what was
        given.
    """
    held = kind
    if isinstance(kind, str):
        name = kind.removeprefix('mmpose.')
        if '.' not in name:
            return name
        held = get_object_from_string(kind)
    for registry in (MODELS, TRANSFORMS, KEYPOINT_CODECS):
        while registry is not None:
            for name, other in registry.module_dict.items():
                if other is held:
                    return name
            registry = registry.parent
    return kind


def _check_head_lines(metadata: dict) -> None:
    for key, known in (
        ('structure', ('Tensor', 'list', 'tuple')),
        ('kind', ('topdown', 'bottomup')),
    ):
        value = metadata[key]
        good = isinstance(value, str) and value in known
        expect(good, key, value, f'one of {", ".join(known)}')
    weights, parts = metadata['weights'], metadata['parts']
    good = type(weights) is int and 0 <= weights < 2**32
    expect(good, 'weights', weights, 'a whole number of 32 bits')
    expect(isinstance(parts, (list, tuple)), 'parts', parts, 'names')
    for name in parts:
        good = isinstance(name, str) and _NAME.fullmatch(name)
        expect(good, 'parts', name, 'a plain name')
    expect(len(set(parts)) == len(parts), 'parts', parts, 'different names')


def _check_model(model: Any) -> None:
    known = ('head', 'data_preprocessor', 'test_cfg')
    expect(isinstance(model, dict), 'model', model, 'a dict')
    for key in model:
        expect(key in known, 'model', key, f'one of {", ".join(known)}')
    _check_typed(model.get('head'), 'model.head', 'head', _in_head)
    preprocessor = model.get('data_preprocessor')
    if preprocessor is not None:
        place = 'model.data_preprocessor'
        _check_typed(preprocessor, place, 'preprocessor', _nothing)
    test_cfg = model.get('test_cfg')
    if test_cfg is not None:
        expect(
            isinstance(test_cfg, dict), 'model.test_cfg', test_cfg, 'a dict'
        )
        _check(test_cfg, 'model.test_cfg', None, _nothing)


# Which kind of class may stand under a key, by that of the dict around it.
_Places = Callable[[str, Optional[str]], Optional[str]]


def _in_head(key: str, outer: Optional[str]) -> Optional[str]:
    if key in ('decoder', 'encoder', 'codec', 'expansion'):
        return 'codec'
    if key.startswith('loss') or key.endswith('loss'):
        return 'loss'
    if key in ('head', 'pose_cfg') or key.endswith('_head'):
        return 'head'
    return outer if outer in ('codec', 'loss') else 'layer'


def _in_pipeline(key: str, outer: Optional[str]) -> Optional[str]:
    return {
        'transforms': 'transform',
        'pad_cfg': 'transform',
        'encoder': 'codec',
    }.get(key)


def _nothing(key: str, outer: Optional[str]) -> None:
    return None


def _is_head(cls: type) -> bool:
    return issubclass(cls, BaseHead)


def _is_loss(cls: type) -> bool:
    return _is_layer(cls) and 'Loss' in cls.__name__


def _is_layer(cls: type) -> bool:
    others = (BaseModel, BaseDataPreprocessor, BaseAveragedModel)
    return issubclass(cls, nn.Module) and not issubclass(
        cls, (*others, BaseBackbone, BaseHead)
    )


def _is_transform(cls: type) -> bool:
    """Whether it works on an image that is loaded already.

    Refused are transforms that read files, build classes of other packages by
    their names, take an image from another entry than ``img``, need a dataset
    or make several samples.
    """
    reads = issubclass(cls, (LoadAnnotations, LoadImageFromFile))
    return (
        issubclass(cls, BaseTransform)
        and (not reads or issubclass(cls, LoadImage))
        and not issubclass(
            cls,
            (
                *(Albumentation, KeyMapper, MixImageTransform),
                *(MultiScaleFlipAug, TestTimeAug),
            ),
        )
    )


_KINDS: Dict[str, Tuple[str, Registry, Callable[[type], bool]]] = {
    'head': ('a head', MODELS, _is_head),
    'loss': ('a loss', MODELS, _is_loss),
    'layer': ('a layer', MODELS, _is_layer),
    'preprocessor': (
        'a data preprocessor',
        MODELS,
        lambda cls: issubclass(cls, BaseDataPreprocessor),
    ),
    'codec': (
        'a codec',
        KEYPOINT_CODECS,
        lambda cls: issubclass(cls, BaseKeypointCodec),
    ),
    'transform': ('a transform of images', TRANSFORMS, _is_transform),
}


def _check_typed(value: Any, where: str, kind: str, places: _Places) -> None:
    good = isinstance(value, dict) and 'type' in value
    expect(good, where, value, f'a dict with the type of {_KINDS[kind][0]}')
    _check(value, where, kind, places)


def _check(
    value: Any, where: str, kind: Optional[str], places: _Places
) -> None:
    """Check a value and all in it.

    Args:
        value (Any): The value.
        where (str): Its place.
        kind (str, optional): Which kind of class it may name.
        places (Callable): The kinds at the places in it.
    """
    if isinstance(value, dict):
        _check_dict(value, where, kind, places)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _check(item, f'{where}[{i}]', kind, places)
    elif isinstance(value, str):
        good = _WORD.fullmatch(value)
        expect(good, where, value, 'a word of letters, digits, _, + and -')
    elif isinstance(value, int):
        good = abs(value) <= MAX_NUMBER
        expect(good, where, value, f'at most {MAX_NUMBER}')
    elif isinstance(value, float):
        expect(math.isfinite(value), where, value, 'a finite number')
    elif isinstance(value, np.ndarray):
        _check(value.tolist(), where, kind, places)
    else:
        expect(value is None, where, value, 'plain values')


def _check_dict(
    node: dict, where: str, kind: Optional[str], places: _Places
) -> None:
    if node.get(_SCOPE) == 'mmpose':
        del node[_SCOPE]
    if 'type' in node:
        _check_name(node['type'], f'{where}.type', kind)
    for key, value in node.items():
        good = isinstance(key, str) and _NAME.fullmatch(key)
        expect(good, where, key, 'keys that are plain names')
        place = f'{where}.{key}'
        if key in FILE_KEYS:
            expect(value is None, place, value, 'no such entry')
        elif key in _NAMES_OF_TYPES:
            _check_name(value, place, _NAMES_OF_TYPES[key])
        elif key != 'type':
            _check(value, place, places(key, kind), places)


def _check_name(name: Any, where: str, kind: Optional[str]) -> None:
    """Check the name of a class; it is looked up, and never imported."""
    expect(kind is not None, where, name, 'no type at this place')
    what, registry, belongs = _KINDS[kind]
    good = isinstance(name, str) and _NAME.fullmatch(name)
    expect(good, where, name, f'the plain name of {what}')
    while registry is not None and name not in registry.module_dict:
        registry = registry.parent
    held = registry is not None and registry.module_dict[name]
    good = inspect.isclass(held) and belongs(held)
    expect(good, where, name, f'{what} that MMPose has registered')
