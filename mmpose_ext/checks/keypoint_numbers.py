"""Compare the numbers of keypoints that a config states in many places."""

import inspect
import logging
from typing import Iterator, List, NamedTuple, Optional, Tuple

import mmengine.registry as root
from mmengine.logging import print_log

from ..errors import InputError
from .datasets import class_of, load_metainfo

# The argument of MMPose's heads (and of CPM, whose backbone predicts heatmaps)
# that is their number of keypoints. Heads of 3D poses are not among them: they
# may leave the root out, or predict nothing else.
_HEADS = {
    'out_channels': 'CPM CPMHead HeatmapHead MSPNHead RTMCCHead RTMWHead '
    'SimCCHead ViPNASHead',
    'num_joints': 'DSNTHead IntegralRegressionHead RLEHead RegressionHead',
    'num_keypoints': 'AssociativeEmbeddingHead CIDHead DEKRHead EDPoseHead '
    'RTMOHead YOLOXPoseHead',
}
_ARGUMENTS = {h: a for a, heads in _HEADS.items() for h in heads.split()}
_DEFAULTS = dict(EDPoseHead=17)
# That of this package's heads, which are found in the registries.
_OUR_ARGUMENTS = ('num_keypoints', 'out_channels')
# In test_cfg: which keypoints of the model are its predictions.
_CHOSEN = 'output_keypoint_indices'
# Lists of one entry for each keypoint.
_LISTS = ('sigmas', 'decode_keypoint_order')
_CONVERTERS = ('KeypointConverter', 'SingleHandConverter')

# Where a number is stated, in words, and the number of keypoints it means.
Statements = List[Tuple[str, int]]


class _Stated(NamedTuple):
    """How a head states its number of keypoints."""

    argument: str = ''  # none: it is not known
    default: Optional[int] = None
    num_background_maps: int = 0  # which the argument includes


def _stated_by(name: str) -> _Stated:
    """How a head of MMPose or of this package does so."""
    if name in _ARGUMENTS:
        return _Stated(_ARGUMENTS[name], _DEFAULTS.get(name))
    for registry in root.MODELS.children.values():
        cls = registry.module_dict.get(name)
        package = getattr(cls, '__module__', '').partition('.')[0]
        if not name.endswith('Head') or package != __name__.partition('.')[0]:
            continue
        arguments = inspect.signature(cls).parameters
        for argument in _OUR_ARGUMENTS:
            if argument in arguments:
                default = arguments[argument].default
                default = default if type(default) is int else None
                background = getattr(cls, 'num_background_maps', 0)
                return _Stated(argument, default, background)
    return _Stated()


def check_keypoint_numbers(cfg, splits) -> None:
    """Check that model, datasets and metrics have as many keypoints.

    What the model states (the heads of MMPose and of this package, ``sigmas``
    and metainfo anywhere in it) is compared with the keypoints that the
    datasets' pipelines return. A validation whose metric converts the
    keypoints is left out.

    Args:
        cfg (Config): The whole config, whose type names have been checked.
        splits (Sequence[str]): Which of 'train', 'val' and 'test' are used.

    Raises:
        InputError: Names the places that disagree and their values, what
            is wrong in a metainfo, or a codec that the head cannot take.
    """
    scope = cfg.get('default_scope', 'mmengine')
    model_cfg = cfg.get('model') or {}
    _check_background(cfg, splits)
    model = list(_in_model(model_cfg, 'model'))
    _compare(model)
    chosen = (model_cfg.get('test_cfg') or {}).get(_CHOSEN)
    if chosen is None:
        predicted = model
    else:
        text = f'model.test_cfg.{_CHOSEN} has {len(chosen)} values'
        predicted = [(text, len(chosen))]
    for split in splits:
        dataset = cfg[f'{split}_dataloader']['dataset']
        stated = _in_dataset(dataset, f'{split}_dataloader.dataset', scope)
        if split == 'train':
            _compare([*model, *stated])
            continue
        key = f'{split}_evaluator'
        if not _converts(cfg.get(key)):
            _compare([*predicted, *stated, *_in_lists(cfg.get(key), key)])


def _check_background(cfg, splits) -> None:
    """Heads that take no map of a background get none."""
    head = (cfg.get('model') or {}).get('head') or {}
    name = type_name(head)
    stated = _stated_by(name)
    # Users' own heads, of other names, may take it.
    if stated.num_background_maps or not stated.argument:
        return
    places = [(head, 'model.head')]
    if 'train' in splits:
        key = 'train_dataloader.dataset'
        places.append((cfg.train_dataloader.dataset, key))
    for node, key in places:
        for part, place in find_dicts(node, key):
            if type_name(part) == 'BackgroundHeatmap':
                raise InputError(
                    f'{place} is a BackgroundHeatmap, which adds a map of the '
                    'background: expected a head that has one, such as '
                    f'GCCPMHead, but model.head is {name}'
                )


def _compare(found: Statements) -> None:
    if len({number for _, number in found}) < 2:
        return
    first = found[0][1]
    same = dict.fromkeys(text for text, n in found if n == first)
    others = dict.fromkeys(text for text, n in found if n != first)
    raise InputError(
        f'{" and ".join(same)}, but {" and ".join(others)}: expected the '
        'same number of keypoints everywhere'
    )


def _in_model(node, where: str) -> Iterator[Tuple[str, int]]:
    """What the heads in a model's config state, at any depth."""
    for part, place in find_dicts(node, where):
        name = type_name(part)
        stated = _stated_by(name)
        argument = stated.argument
        value = part.get(argument, stated.default)
        if argument and value is not None:
            if type(value) is not int:
                raise InputError(
                    f'{place}.{argument} is {value!r}, expected a whole '
                    'number, the number of keypoints'
                )
            text = f'{place}.{argument} is {value}'
            background = stated.num_background_maps
            number, note = _keypoints_of(part, background, value)
            yield text + note, number
        metainfo = part.get('metainfo')
        if isinstance(metainfo, str):  # of MMPose's OKS
            metainfo = dict(from_file=metainfo)
        if metainfo:
            key = f'{place}.metainfo'
            number = _count(load_metainfo(None, metainfo, key), key)
            yield f'{key} has {number} keypoints', number
    yield from _in_lists(node, where)


def _keypoints_of(head: dict, background: int, value: int) -> Tuple[int, str]:
    """The keypoints behind a head's argument, and what else is in it."""
    if background:
        number = value - background
        return number, f' ({number} keypoints and the background)'
    decoder = head.get('decoder') or {}
    if decoder.get('heatmap_type') == 'combined' and value % 3 == 0:  # UDP's
        return value // 3, f' (3 for each of {value // 3} keypoints)'
    return value, ''


def _in_lists(node, where: str) -> Iterator[Tuple[str, int]]:
    for part, place in find_dicts(node, where):
        for key in _LISTS:
            if isinstance(part.get(key), (list, tuple)):
                number = len(part[key])
                yield f'{place}.{key} has {number} values', number


def _in_dataset(dataset, where: str, scope: str) -> Statements:
    """The keypoints of the samples that a dataset returns."""
    pipeline = dataset.get('pipeline') or []
    found = list(_in_lists(pipeline, f'{where}.pipeline'))
    converted = [
        (f'{where}.pipeline[{i}].num_keypoints is {step["num_keypoints"]}',
         step['num_keypoints'])
        for i, step in enumerate(pipeline)
        if isinstance(step, dict)
        and type_name(step) in _CONVERTERS
        and isinstance(step.get('num_keypoints'), int)
    ]  # fmt: skip
    if 'dataset' in dataset:
        inner = _in_dataset(dataset['dataset'], f'{where}.dataset', scope)
    elif 'datasets' in dataset:
        inner = [
            statement
            for i, part in enumerate(dataset['datasets'])
            for statement in _in_dataset(part, f'{where}.datasets[{i}]', scope)
        ]
        if dataset.get('metainfo'):
            inner += _in_metainfo(None, dataset, where)
    else:
        cls = class_of(dataset, scope)
        # None where its package is not installed.
        inner = [] if cls is None else _in_metainfo(cls, dataset, where)
    return found + (converted[-1:] or inner)


def _in_metainfo(cls, dataset, where: str) -> Statements:
    key = f'{where}.metainfo'
    metainfo = load_metainfo(cls, dataset.get('metainfo'), key)
    place = f'{where} ({type_name(dataset)} metainfo)'
    number = _count(metainfo, place)
    if number is None:
        return []
    weights = len(metainfo['dataset_keypoint_weights'])
    # Some of MMPose's own metainfo have too few, which are not used.
    if weights != number and any(
        step.get('use_dataset_keypoint_weights')
        for step, _ in find_dicts(dataset.get('pipeline'), '')
    ):
        raise InputError(
            f'{place} has {number} keypoints, but {weights} joint_weights'
        )
    return [(f'{place} has {number} keypoints', number)]


def _count(metainfo: dict, place: str) -> Optional[int]:
    """The number of keypoints, after a look at what belongs to each one."""
    number = metainfo.get('num_keypoints')
    if number is None:
        return None
    # Without any sigmas, there is no OKS.
    if len(metainfo['sigmas']) not in (0, number):
        raise InputError(
            f'{place} has {number} keypoints, but {len(metainfo["sigmas"])} '
            'sigmas'
        )
    partners = metainfo['flip_indices']
    names = metainfo['keypoint_id2name']
    wrong = [i for i, j in enumerate(partners) if partners[j] != i]
    if wrong:  # no error, because some of MMPose's own metainfo are so
        name, partner = names[wrong[0]], names[partners[wrong[0]]]
        print_log(
            f"{place}: '{name}' swaps with '{partner}', but not "
            f"'{partner}' with '{name}': flips mix up keypoints",
            logger='current',
            level=logging.WARNING,
        )
    return number


def _converts(metrics) -> bool:
    return any(
        part.get('pred_converter') or part.get('gt_converter')
        for part, _ in find_dicts(metrics, '')
    )


def find_dicts(node, where: str) -> Iterator[Tuple[dict, str]]:
    """All dicts in a part of a config, and their places.

    Args:
        node (Any): The part.
        where (str): Its key.
    """
    if isinstance(node, dict):
        yield node, where
        for key, value in node.items():
            yield from find_dicts(value, f'{where}.{key}')
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from find_dicts(value, f'{where}[{i}]')


def type_name(part: dict) -> str:
    """The name of a type, without its scope, also if it is a class."""
    type_ = part.get('type', '')
    return getattr(type_, '__name__', str(type_)).rpartition('.')[2]
