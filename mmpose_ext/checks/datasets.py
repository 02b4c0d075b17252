"""Check the files that the datasets of a config name."""

import os.path as osp
from typing import Iterator, List, Optional, Set, Tuple

import mmengine.registry as root
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from ..errors import InputError
from .annotations import check_images, check_keypoints, check_objects
from .coco import read_annotations
from .detections import check_detections
from .json_files import check_file, read_json

# Where methods are written that read COCO's format: by name, because MMDet may
# be missing. All datasets and metrics of ours do so.
_OURS = __name__.partition('.')[0]
_MMDET_COCO = 'mmdet.datasets.coco'
_MMPOSE_METRIC = 'mmpose.evaluation.metrics.coco_metric'
_MMDET_METRIC = 'mmdet.evaluation.metrics.coco_metric'
# In which images are not turned as their EXIF orientation says.
_UNTURNED = ('unchanged', 'color_ignore_orientation')
_UNTURNED += ('grayscale_ignore_orientation',)


def check_datasets(cfg, splits, read: Optional[Set[str]] = None) -> List[dict]:
    """Check the annotations, images and detections that a config names.

    Each JSON file is read once for each folder of images. Files that are
    not on a local disk, and the content of annotation files that are not in
    COCO format or are read by a dataset in its own way, are not looked at.

    Args:
        cfg (Config): The whole config.
        splits (Sequence[str]): Which of 'train', 'val' and 'test' are used.
        read (set[str], optional): The annotation files that were read are
            added to it. Defaults to ``None``.

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
    if read is not None:
        read.update(key[0] for key in files if isinstance(key, tuple))
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


def check_evaluators(cfg, splits, read: Set[str]) -> None:
    """Check the annotation files that the metrics name.

    They are read by the same rules as those of the datasets, if it is
    COCO's metrics that read them.

    Args:
        cfg (Config): The whole config.
        splits (Sequence[str]): Which of 'val' and 'test' are used.
        read (set[str]): The files that need not be read again; those that
            are read are added.

    Raises:
        InputError: One is missing, or something is wrong with it.
    """
    scope = cfg.get('default_scope', 'mmengine')
    for split in splits:
        key = f'{split}_evaluator'
        metrics = cfg.get(key) or []
        if isinstance(metrics, dict):
            metrics = metrics.get('metrics', [metrics])
        for metric in metrics:
            ann_file = metric.get('ann_file')
            if not ann_file or _is_remote(ann_file) or ann_file in read:
                continue
            what = f'annotation file ({key}.ann_file)'
            check_file(ann_file, what)
            if _reads_coco(class_of(metric, scope, root.METRICS)):
                read.add(ann_file)
                read_annotations(ann_file, what, with_names=False)


def _reads_coco(metric) -> bool:
    """Whether a class of metrics reads its file as COCO's base classes do."""
    bases = getattr(metric, '__mro__', ())
    return _is_written_in(metric, '__init__', _MMDET_METRIC) or any(
        base.__module__ == _MMPOSE_METRIC for base in bases
    )


def _is_written_in(cls, method: str, module: str) -> bool:
    """Whether a class has a method from a module, or one of ours."""
    found = getattr(getattr(cls, method, None), '__module__', None) or ''
    return found == module or found.partition('.')[0] == _OURS


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
    detection = _is_written_in(cls, 'load_data_list', _MMDET_COCO)
    if not (
        detection or _inherits(cls, 'load_data_list', '_load_annotations')
    ):
        return True

    # Only what is ours reads files with our repairs.
    plain = detection and cls.__module__.partition('.')[0] != _OURS
    folder = _local_folder(dataset)
    turns = _turns(dataset)
    key = (ann_file, folder, turns, plain)
    if key not in files:
        files[key] = read_annotations(
            ann_file,
            what,
            img_dir=folder,
            turns=turns,
            estimate_areas=not plain,
        )
    coco = files[key]
    if folder is not None:
        check_images(coco, folder, f'{where}.data_prefix.img')
    if dataset.get('bbox_file'):
        return _check_bbox_file(dataset, where, coco, files)
    # As the error about numbers of keypoints names it.
    name = f'{where} ({cls.__name__} metainfo)'
    key = f'{where}.metainfo'
    if detection and _is_written_in(cls, 'parse_data_info', _MMDET_COCO):
        check_objects(
            coco,
            ann_file,
            load_metainfo(cls, dataset.get('metainfo'), key),
            name,
            training=not dataset.get('test_mode'),
            # Ours makes a mask where there is none.
            with_masks=plain
            and any(step.get('with_mask') for step in _steps(dataset)),
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


def class_of(part, scope: str, registry=root.DATASETS):
    """The class of a part of a config, whose name has been checked before."""
    cls = part['type']
    if not isinstance(cls, str):
        return cls
    scope = part.get('_scope_', scope)
    with registry.switch_scope_and_registry(scope) as child:
        return child.get(cls)


def _inherits(cls, *methods: str) -> bool:
    """Whether a dataset has methods as MMPose's COCO base class has them."""
    return isinstance(cls, type) and all(
        getattr(cls, m, None) is getattr(BaseCocoStyleDataset, m)
        for m in methods
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


def _local_folder(dataset) -> Optional[str]:
    """The folder of a dataset's images, if they are on a local disk."""
    loaders = [step.get('backend_args') or {} for step in _steps(dataset)]
    if any(args.get('backend', 'local') != 'local' for args in loaders):
        return None
    prefix = (dataset.get('data_prefix') or {}).get('img', '')
    folder = osp.join(dataset.get('data_root') or '', prefix)
    return None if _is_remote(folder) else folder


def _turns(dataset) -> bool:
    """Whether images are loaded as their EXIF orientation says."""
    return not any(
        step.get('color_type') in _UNTURNED
        or step.get('imdecode_backend') == 'turbojpeg'
        for step in _steps(dataset)
    )


def _steps(dataset) -> List[dict]:
    """The steps of a dataset's pipeline that are configs."""
    return [s for s in dataset.get('pipeline') or [] if isinstance(s, dict)]
