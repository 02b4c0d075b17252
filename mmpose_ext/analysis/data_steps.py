"""Steps of the data's way to a network: one transform, one batch."""

from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpose.datasets.datasets.body import CocoDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.datasets.transforms import TopdownAffine
from mmpose.registry import TRANSFORMS
from mmpose.structures.bbox import (
    bbox_corner2xyxy,
    bbox_xyxy2cs,
    get_warp_matrix,
)
from torch.utils.data import DataLoader

from ..checks import (
    check_type_names,
    explain_errors,
    explain_unknown_types,
)
from ..checks.datasets import check_datasets
from ..errors import InputError, did_you_mean
from .literals import parse_dict
from .networks import Call
from .pose_steps import make_persons

# What MMPose's datasets tell every sample of their keypoints.
_KEYPOINT_META = (
    'upper_body_ids',
    'lower_body_ids',
    'flip_pairs',
    'flip_indices',
    'dataset_keypoint_weights',
    'skeleton_links',
)
# Calls in which a transform may show what it writes to.
_TRIALS = 20


def load_transform(
    rest: str,
    name: str = '',
    persons: int = 3,
    shape: Optional[Tuple[int, int]] = None,
) -> Call:
    """Build a transform of MMPose's registry, with an image for it.

    Each call gets the same image, persons and targets, see
    :func:`make_results`. Arrays that the transform writes to, which 20 trials
    show, are copied for each call, and this is timed with it; as a transform
    that does not write to them makes its copies itself, both kinds are
    treated alike.

    Args:
        rest (str): ``dict(type='Cutout', ...)``, with plain values. MMPose's
            ``Albumentation`` gets its transforms by their names, too; its
            own look-up of them fails with Albumentations 2.
        name (str): What to call it. Defaults to ``rest``.
        persons (int): Persons of the image; ``TopdownAffine`` and what
            inherits it always gets one. Defaults to 3.
        shape (tuple[int, int], optional): Height and width of the image in
            pixels. Defaults to ``None``, 480 and 640.

    Raises:
        InputError: There is no such transform, a package that it needs is
            missing, or it does not work on such an image.
    """
    name = name or rest
    cfg = parse_dict(rest)
    if cfg['type'] == 'Albumentation':
        transforms = cfg.get('transforms', [])
        cfg['transforms'] = _find_albumentations(transforms, name)
    whole = Config(dict(transform=cfg, default_scope='mmpose'))
    with (
        DefaultScope.overwrite_default_scope('mmpose'),
        explain_unknown_types(whole),
    ):
        try:
            transform = TRANSFORMS.build(cfg)
        except (AssertionError, TypeError, ValueError) as e:
            raise InputError(f'{name}: {e}') from e
    if isinstance(transform, TopdownAffine):
        persons = 1
    results = make_results(persons, shape or (480, 640))
    arrays = {k: v for k, v in results.items() if isinstance(v, np.ndarray)}
    written = set()

    def try_out() -> None:
        for _ in range(_TRIALS):
            copies = {key: array.copy() for key, array in arrays.items()}
            transform({**results, **copies})
            written.update(
                key
                for key, array in arrays.items()
                if not np.array_equal(array, copies[key])
            )

    def apply() -> Any:
        copies = {key: results[key].copy() for key in written}
        return transform({**results, **copies})

    # Any dict may be named: this fails before anything is timed.
    Call(name, try_out).check(
        f'let {cfg["type"]} transform an image of {persons}'
    )
    return Call(name, apply)


def load_batches(cfg: Config, name: str = '', batch: int = 8) -> Call:
    """Build the training data of a config, one batch of which is loaded.

    A call takes the next batch from the dataloader: reading, transforms,
    targets and collation, in this process, whatever workers the config has:
    those would go on while others are timed. Where the data are at their end
    they start again.

    Args:
        cfg (Config): Config of an MMPose or MMDetection model.
        name (str): What to call it. Defaults to the config's file name.
        batch (int): Number of samples. Defaults to 8.

    Raises:
        InputError: The config has no training data, one of its files or
            types is missing, or there are fewer samples than a batch has.
    """
    name = name or str(cfg.filename)
    loader_cfg = cfg.get('train_dataloader')
    if not loader_cfg or not loader_cfg.get('dataset'):
        raise InputError(
            f"{name}: expected a config with a 'train_dataloader.dataset'"
        )
    check_type_names(cfg, ['train_dataloader'])
    check_datasets(cfg, ['train'])
    loader_cfg = loader_cfg.to_dict()
    loader_cfg.update(
        batch_size=batch, num_workers=0, persistent_workers=False
    )
    # All batches shall be of one size.
    (loader_cfg.get('batch_sampler') or loader_cfg)['drop_last'] = True
    scope = cfg.get('default_scope') or 'mmpose'
    with DefaultScope.overwrite_default_scope(scope), explain_errors(cfg):
        loader = Runner.build_dataloader(loader_cfg)
    if len(loader) == 0:
        raise InputError(
            f'{name}: expected enough training samples for a batch of '
            f'{batch}, got {len(loader.dataset)}'
        )
    batches = _repeat(loader)

    def load() -> Any:
        with DefaultScope.overwrite_default_scope(scope), explain_errors(cfg):
            return next(batches)

    call = Call(name, load, images=batch)
    call.check(f'load a batch of {batch}')
    return call


def make_results(
    persons: int, shape: Tuple[int, int], seed: int = 0
) -> Dict[str, Any]:
    """An image in the middle of a training pipeline.

    It has what transforms of MMPose and of mmpose_ext want: the image and its
    sizes, the persons (see :func:`make_persons`) with boxes in several forms
    and a polygon of someone without keypoints, and what the dataset tells of
    the keypoints. For those that come later it tells that a square of the
    short side's length, turned by 15 degrees, is what the network gets (its
    side rounded up to a multiple of 64), with heatmaps of a quarter of it.

    Args:
        persons (int): Number of persons N.
        shape (tuple[int, int]): Height and width of the image in pixels.
        seed (int): Of the image's random pixels, poses and places. Defaults
            to 0.

    Returns:
        dict: The results, as MMPose's pipelines name them.
    """
    height, width = shape
    rng = np.random.default_rng(seed)
    people = make_persons(persons, (width, height), seed)
    boxes = bbox_corner2xyxy(people['bbox'])
    centers, scales = bbox_xyxy2cs(boxes, padding=1.25)
    side = -(-min(shape) // 64) * 64
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    polygon = (0.5 + circle / 6) * (width, height)
    meta = parse_pose_metainfo(CocoDataset.METAINFO)
    return dict(
        people,
        **{key: meta[key] for key in _KEYPOINT_META},
        img=rng.integers(0, 256, (height, width, 3), np.uint8),
        img_shape=(height, width),
        ori_shape=(height, width),
        bbox=boxes,
        bbox_center=centers,
        bbox_scale=scales,
        bbox_rotation=np.zeros(persons, np.float32),
        bbox_score=np.ones(persons, np.float32),
        category_id=[1] * persons,
        id=list(range(persons)),
        img_id=0,
        img_path='',
        invalid_segs=[[polygon.ravel().tolist()]],
        input_size=(side, side),
        warp_mat=get_warp_matrix(
            np.array([width, height]) / 2,
            np.array([min(shape), min(shape)]),
            15,
            (side, side),
        ),
        heatmaps=np.zeros(
            (meta['num_keypoints'], side // 4, side // 4), np.float32
        ),
    )


def _find_albumentations(transforms: Sequence[dict], name: str) -> List[dict]:
    """The same transforms with classes for their names."""
    try:
        import albumentations
    except ImportError as e:
        raise InputError(
            f'{name}: needs Albumentations: pip install albumentations'
        ) from e
    found = []
    for cfg in transforms:
        cfg = dict(cfg)
        cls = getattr(albumentations, str(cfg.get('type')), None)
        if not isinstance(cls, type):
            raise InputError(
                f"{name}: Albumentations has no transform '{cfg.get('type')}'"
                + did_you_mean(str(cfg.get('type')), dir(albumentations))
            )
        if 'transforms' in cfg:
            cfg['transforms'] = _find_albumentations(cfg['transforms'], name)
        found.append(dict(cfg, type=cls))
    return found


def _repeat(loader: DataLoader) -> Iterator[Any]:
    """The batches of a dataloader, again and again."""
    while True:
        yield from loader
