"""Check the files that the datasets of a config name."""

import os.path as osp
from typing import Iterator, List, Tuple

import mmengine.registry as root
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from ...errors import InputError
from .annotations import (
    check_coco,
    check_file,
    check_images,
    check_keypoints,
    check_objects,
    read_json,
)
from .detections import check_detections

# Where methods of MMDet's COCO dataset, and of ours upon it, are written. By
# name, because MMDet may be missing.
_MMDET_COCO = (
    'mmdet.datasets.coco',
    'mmpose_ext.multitask.coco_person_dataset',
)


def check_datasets(cfg, splits) -> List[dict]:
    """Check the annotations, images and detections that a config names.

    Each JSON file is read at most once. Files that are not on a local disk,
    and the content of annotation files that are not in COCO format or are
    read by a dataset in its own way, are not looked at.

    Args:
        cfg (Config): The whole config.
        splits (Sequence[str]): Which of 'train', 'val' and 'test' are used.

    Returns:
        list[dict]: The configs of those datasets whose detection file leaves
        no box to evaluate.

    Raises:
        InputError: What is wrong with which file.
    """
    scope = cfg.get('default_scope', 'mmengine')
    files, empty = {}, []
    for split in splits:
        key = f'{split}_dataloader'
        for dataset, where in _leaves(cfg[key]['dataset'], f'{key}.dataset'):
            if not _check_dataset(dataset, where, scope, files):
                empty.append(dataset)
    return empty


def _leaves(dataset, where: str) -> Iterator[Tuple[dict, str]]:
    """Yield the datasets that read files, and where they stand."""
    if 'dataset' in dataset:
        yield from _leaves(dataset['dataset'], f'{where}.dataset')
    elif 'datasets' in dataset:
        for i, part in enumerate(dataset['datasets']):
            yield from _leaves(part, f'{where}.datasets[{i}]')
    else:
        yield dataset, where


def check_evaluators(cfg, splits) -> None:
    """Check that the annotation files exist which the metrics name.

    Raises:
        InputError: One is missing.
    """
    for split in splits:
        key = f'{split}_evaluator'
        metrics = cfg.get(key) or []
        if isinstance(metrics, dict):
            metrics = metrics.get('metrics', [metrics])
        for metric in metrics:
            ann_file = metric.get('ann_file')
            if ann_file and not _is_remote(ann_file):
                check_file(ann_file, f'annotation file ({key}.ann_file)')


def _check_dataset(dataset, where: str, scope: str, files: dict) -> bool:
    """Check one dataset; return whether it may have samples."""
    data_root = dataset.get('data_root') or ''
    ann_file = dataset.get('ann_file')
    ann_file = ann_file and osp.join(data_root, ann_file)
    if not ann_file or _is_remote(ann_file):
        return True
    what = f'annotation file ({where}.ann_file)'
    check_file(ann_file, what)
    cls = class_of(dataset, scope)
    detection = _is_from_mmdet(cls, 'load_data_list')
    if not (
        detection or _inherits(cls, 'load_data_list', '_load_annotations')
    ):
        return True

    if ann_file not in files:
        files[ann_file] = read_json(ann_file, what)
        check_coco(files[ann_file], ann_file)
    coco = files[ann_file]
    _check_image_folder(dataset, where, coco)
    if dataset.get('bbox_file'):
        return _check_bbox_file(dataset, where, coco, files)
    # As the error about numbers of keypoints names it.
    name = f'{where} ({cls.__name__} metainfo)'
    key = f'{where}.metainfo'
    if detection and _is_from_mmdet(cls, 'parse_data_info'):
        check_objects(
            coco,
            ann_file,
            load_metainfo(cls, dataset.get('metainfo'), key),
            name,
            training=not dataset.get('test_mode'),
            # Ours makes a mask where there is none.
            with_masks=cls.__module__ == _MMDET_COCO[0]
            and _loads_masks(dataset),
        )
    elif _inherits(cls, 'parse_data_info'):
        metainfo = load_metainfo(cls, dataset.get('metainfo'), key)
        number = metainfo.get('num_keypoints')
        check_keypoints(coco, ann_file, number, name)
    return True


def _check_bbox_file(dataset, where: str, coco: dict, files: dict) -> bool:
    bbox_file = dataset['bbox_file']
    if not dataset.get('test_mode'):
        raise InputError(
            f"{where}.bbox_file is '{bbox_file}', but detected boxes are for "
            'evaluation only: set test_mode=True there, or no bbox_file'
        )
    if _is_remote(bbox_file):
        return True
    if bbox_file not in files:
        what = f'detection file ({where}.bbox_file)'
        files[bbox_file] = read_json(bbox_file, what)
    filter_cfg = dataset.get('filter_cfg') or {}
    threshold = filter_cfg.get('bbox_score_thr', -float('inf'))
    ids = (image['id'] for image in coco['images'])
    return check_detections(files[bbox_file], bbox_file, ids, threshold) > 0


def _is_remote(path: str) -> bool:
    return '://' in path


def class_of(dataset, scope: str):
    """The class of a dataset, whose name has been checked before."""
    cls = dataset['type']
    if not isinstance(cls, str):
        return cls
    scope = dataset.get('_scope_', scope)
    with root.DATASETS.switch_scope_and_registry(scope) as registry:
        return registry.get(cls)


def _inherits(cls, *methods: str) -> bool:
    """Whether a dataset has methods as MMPose's COCO base class has them."""
    return isinstance(cls, type) and all(
        getattr(cls, m, None) is getattr(BaseCocoStyleDataset, m)
        for m in methods
    )


def _is_from_mmdet(cls, method: str) -> bool:
    """Whether a dataset has a method as MMDet's COCO dataset has it."""
    function = getattr(cls, method, None)
    return getattr(function, '__module__', None) in _MMDET_COCO


def _loads_masks(dataset) -> bool:
    return any(
        isinstance(step, dict) and step.get('with_mask')
        for step in dataset.get('pipeline', [])
    )


def load_metainfo(class_, metainfo, where: str) -> dict:
    """The parsed metainfo of a dataset.

    Args:
        class_ (type, optional): The dataset's, which has one by default;
            or None for what is no dataset.
        metainfo (dict, optional): That of the config.
        where (str): The config's key of it, for messages.

    Raises:
        InputError: It is no dict or not complete, or names a file or a
            keypoint that is missing.
    """
    load = parse_pose_metainfo if class_ is None else class_._load_metainfo
    try:
        return load(metainfo)
    except (FileNotFoundError, TypeError) as e:
        raise InputError(f'{where}: {e}') from e
    except AssertionError as e:
        raise InputError(
            f'{where}: expected dataset_name, keypoint_info, skeleton_info, '
            f'joint_weights and sigmas, got {", ".join(metainfo)}'
        ) from e
    except KeyError as e:
        raise InputError(
            f'{where}: there is no key or keypoint {e}, which is needed or '
            'named by a swap or a link'
        ) from e


def _check_image_folder(dataset, where: str, coco: dict) -> None:
    loaders = [
        step.get('backend_args') or {}
        for step in dataset.get('pipeline', [])
        if isinstance(step, dict)
    ]
    if any(args.get('backend', 'local') != 'local' for args in loaders):
        return
    prefix = (dataset.get('data_prefix') or {}).get('img', '')
    folder = osp.join(dataset.get('data_root') or '', prefix)
    if not _is_remote(folder):
        check_images(coco, folder, f'{where}.data_prefix.img')
