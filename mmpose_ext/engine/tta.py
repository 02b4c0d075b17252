"""Test-time augmentation over scales, for any top-down heatmap config."""

import copy
import math
from numbers import Real
from typing import Iterator, List, Optional, Sequence, Tuple

from mmengine.config import Config
from mmpose.datasets.transforms import TopdownAffine
from mmpose.registry import TRANSFORMS

from ..arguments import positive_int
from ..errors import InputError

SCALES = (0.75, 1, 1.25)
# Of cv2.warpAffine.
_LARGEST = 32767


def add_tta(
    cfg: Config,
    scales: Sequence[float] = SCALES,
    flip_test: bool = True,
    divisor: int = 32,
) -> None:
    """Add the ``tta_model`` and ``tta_pipeline`` that a config lacks.

    The pipeline is that of the test dataset, with its ``TopdownAffine`` (or a
    subclass of it) replaced by ``TestTimeAug`` with one per scale. Above
    scale 1 the input grows. Below it the input keeps its size, and its box
    grows instead, as the published evaluation of GCCPM pads images that it
    has made smaller: the person gets smaller, without a border close by.

    Args:
        cfg (Config): A config with a top-down model, changed in place. What
            it already has of the two stays.
        scales (Sequence[float]): Factors of the person's size in the input,
            all of them above zero. Defaults to ``(0.75, 1, 1.25)``.
        flip_test (bool): Whether to average with the flipped image at each
            scale. Defaults to ``True``.
        divisor (int): Width and height of the scaled input are rounded to
            multiples of it, a half upwards. Defaults to 32.

    Raises:
        InputError: If the model is not top-down, or a scale cannot be used.
        ValueError: If the divisor is not a positive whole number.
    """
    if 'tta_model' not in cfg:
        # By its registry, for configs without a default scope.
        cfg.tta_model = dict(
            type='mmpose.MultiScaleHeatmapTTA', flip_test=flip_test
        )
    if 'tta_pipeline' in cfg:
        return
    first, *others = _affine_datasets(cfg)
    pipeline = first['pipeline']
    if any(other['pipeline'] != pipeline for other in others):
        raise InputError(
            'the datasets of test_dataloader have different pipelines: give '
            'the config a tta_pipeline'
        )
    i = _affine_index(first)
    affine, after = pipeline[i], pipeline[i + 1 :]
    sizes = scaled_sizes(affine['input_size'], scales, divisor)
    affines = [
        _zoomed_out({**affine, 'input_size': size}, scale)
        for size, scale in zip(sizes, scales)
    ]
    cfg.tta_pipeline = [
        *pipeline[:i],
        dict(type='TestTimeAug', transforms=[affines, *([t] for t in after)]),
    ]


def use_tta(cfg: Config, scales: Optional[Sequence[float]] = None) -> None:
    """Change a config such that its test augments the images.

    Its ``tta_model`` and ``tta_pipeline`` are used if it has them, otherwise
    those of :func:`add_tta`.

    Args:
        cfg (Config): A config with a top-down model, changed in place.
        scales (Sequence[float], optional): As in :func:`add_tta`. Defaults
            to ``None``, which is 0.75, 1 and 1.25.

    Raises:
        InputError: As :func:`add_tta`; or there are scales and a
            ``tta_pipeline`` too.
    """
    if scales and 'tta_pipeline' in cfg:
        raise InputError(
            f'scales {_text(scales)}: the config has a tta_pipeline, which '
            'sets the scales; give none'
        )
    datasets = _affine_datasets(cfg)
    add_tta(cfg, scales or SCALES)
    for dataset in datasets:
        dataset['pipeline'] = copy.deepcopy(cfg.tta_pipeline)
    cfg.model = dict(**cfg.tta_model, module=cfg.model)


def scaled_sizes(
    input_size: Sequence[int], scales: Sequence[float], divisor: int = 32
) -> List[Tuple[int, int]]:
    """Sizes of the network input at several scales, at least that of 1.

    Args:
        input_size (Sequence[int]): The size [w, h] at scale 1, px.
        scales (Sequence[float]): The scales.
        divisor (int): As in :func:`add_tta`. Defaults to 32.

    Returns:
        list[tuple[int, int]]: A size [w, h] for each scale.

    Raises:
        InputError: If a scale is not a finite number above zero, if the
            person is smaller than half the divisor at that scale, if a side
            is larger than OpenCV can make, or if two scales are the same.
        ValueError: If the divisor is not a positive whole number.
    """
    positive_int('divisor', divisor)
    if not isinstance(scales, (list, tuple)) or len(scales) == 0:
        raise InputError(f'expected at least one scale, got {scales!r}')
    width, height = input_size
    smallest = math.ceil(500 * divisor / min(input_size)) / 1000
    found = {}
    for scale in scales:
        if not isinstance(scale, Real):
            raise InputError(f'expected scales as numbers, got {scale!r}')
        size = (0, 0)
        if math.isfinite(scale):
            size = tuple(
                math.floor(n * scale / divisor + 0.5) * divisor
                for n in input_size
            )
        if min(size) < 1:
            raise InputError(
                f'scale {scale:g} leaves nothing of the input of {width}x'
                f'{height}: expected a number of at least {smallest:g} (sides '
                f'are multiples of {divisor})'
            )
        if max(size) > _LARGEST:
            raise InputError(
                f'scale {scale:g} makes an input of {size[0]}x{size[1]}: '
                f'OpenCV warps images of at most {_LARGEST} px a side'
            )
        # The size, and how much smaller the person is in it.
        key = (size, 1) if scale > 1 else ((width, height), scale)
        if key in found:
            raise InputError(
                f'scales {found[key]:g} and {scale:g} both give an input of '
                f'{key[0][0]}x{key[0][1]} (sides are multiples of {divisor})'
            )
        found[key] = scale
    return [size for size, _ in found]


def _zoomed_out(affine: dict, scale: float) -> dict:
    """An affine transform that shows more around the box below scale 1."""
    if scale >= 1:
        return affine
    zoom = dict(
        type='mmpose.RandomBBoxTransform',
        shift_prob=0,
        rotate_prob=0,
        scale_prob=1,
        scale_factor=(1 / scale, 1 / scale),
    )
    return dict(type='Compose', transforms=[zoom, affine])


def _affine_datasets(cfg: Config) -> List[dict]:
    """The configs of the test datasets that crop persons out."""
    datasets = list(_datasets(cfg.test_dataloader.dataset))
    found = [d for d in datasets if _affine_index(d) is not None]
    if not found:
        types = [t['type'] for d in datasets for t in d.get('pipeline', [])]
        raise InputError(
            'test-time augmentation over scales is for top-down models, whose '
            'test pipeline has a TopdownAffine; this one has '
            + (', '.join(map(str, types)) or 'no transforms')
        )
    return found


def _datasets(dataset: dict) -> Iterator[dict]:
    """A dataset and those inside it."""
    yield dataset
    for part in [dataset.get('dataset'), *dataset.get('datasets', [])]:
        if part is not None:
            yield from _datasets(part)


def _affine_index(dataset: dict) -> Optional[int]:
    for i, transform in enumerate(dataset.get('pipeline') or []):
        cls = transform['type']
        if isinstance(cls, str):
            cls = TRANSFORMS.get(cls)
        if isinstance(cls, type) and issubclass(cls, TopdownAffine):
            return i
    return None


def _text(scales: Sequence[float]) -> str:
    return ', '.join(f'{scale:g}' for scale in scales)
