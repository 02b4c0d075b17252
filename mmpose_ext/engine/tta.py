"""Test-time augmentation over scales, for any top-down heatmap config."""

import copy
import math
from typing import Iterator, List, Optional, Sequence, Tuple

from mmengine.config import Config
from mmpose.datasets.transforms import TopdownAffine
from mmpose.registry import TRANSFORMS

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
    """Give a config the ``tta_model`` and ``tta_pipeline`` that it lacks.

    The pipeline is that of the test dataset, with its ``TopdownAffine`` (or a
    subclass of it) replaced by ``TestTimeAug`` with one per scale. The first
    scale that keeps the input size is the frame in which
    :class:`~mmpose_ext.models.tta.MultiScaleHeatmapTTA` merges the heatmaps.

    Args:
        cfg (Config): A config with a top-down model, changed in place. What
            it has of the two already stays.
        scales (Sequence[float]): Factors of the input size, all of them
            above zero. Defaults to ``(0.75, 1, 1.25)``.
        flip_test (bool): Whether to average with the flipped image at each
            scale. Defaults to ``True``.
        divisor (int): Width and height of the scaled input are rounded to
            multiples of it, a half upwards; scale 1 is left as it is.
            Defaults to 32.

    Raises:
        InputError: If the model is not top-down, or a scale cannot be used.
    """
    if 'tta_model' not in cfg:
        cfg.tta_model = dict(type='MultiScaleHeatmapTTA', flip_test=flip_test)
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
    affines = [{**affine, 'input_size': size} for size in sizes]
    cfg.tta_pipeline = [
        *pipeline[:i],
        dict(type='TestTimeAug', transforms=[affines, *([t] for t in after)]),
    ]


def use_tta(cfg: Config, scales: Optional[Sequence[float]] = None) -> None:
    """Let a config be tested with augmentation.

    Its own ``tta_model`` and ``tta_pipeline`` are used where it has them,
    otherwise those of :func:`add_tta`.

    Args:
        cfg (Config): A config with a top-down model, changed in place.
        scales (Sequence[float], optional): Factors of the input size.
            Defaults to ``None``, which is 0.75, 1 and 1.25.

    Raises:
        InputError: As :func:`add_tta`; or there are scales and a
            ``tta_pipeline`` too.
    """
    if scales and 'tta_pipeline' in cfg:
        raise InputError(
            f'scales {_text(scales)}: the config has a tta_pipeline of its '
            'own, which sets the scales; give none'
        )
    datasets = _affine_datasets(cfg)
    add_tta(cfg, scales or SCALES)
    for dataset in datasets:
        dataset['pipeline'] = copy.deepcopy(cfg.tta_pipeline)
    cfg.model = dict(**cfg.tta_model, module=cfg.model)


def scaled_sizes(
    input_size: Sequence[int], scales: Sequence[float], divisor: int = 32
) -> List[Tuple[int, int]]:
    """Sizes of the network input at several scales.

    Args:
        input_size (Sequence[int]): The size [w, h] at scale 1, px.
        scales (Sequence[float]): The scales.
        divisor (int): As in :func:`add_tta`. Defaults to 32.

    Returns:
        list[tuple[int, int]]: A size [w, h] for each scale.

    Raises:
        InputError: If a scale is not a finite number above zero, if nothing
            is left of a side at that scale, if a side is larger than OpenCV
            can make, or if two have the same size.
    """
    if divisor < 1:
        raise InputError(f'divisor must be at least 1, got {divisor}')
    if len(scales) == 0:
        raise InputError('expected at least one scale, got none')
    width, height = input_size
    smallest = math.ceil(500 * divisor / min(input_size)) / 1000
    found = {}
    for scale in scales:
        size = (width, height)
        if scale != 1 and math.isfinite(scale):
            size = tuple(
                math.floor(n * scale / divisor + 0.5) * divisor for n in size
            )
        if math.isfinite(scale) and max(size) > _LARGEST:
            raise InputError(
                f'scale {scale:g} makes an input of {size[0]}x{size[1]}: '
                f'OpenCV warps images of at most {_LARGEST} px a side'
            )
        if not math.isfinite(scale) or min(size) < 1:
            raise InputError(
                f'scale {scale:g} leaves nothing of the input of {width}x'
                f'{height}: expected a number of at least {smallest:g} (sides '
                f'are multiples of {divisor})'
            )
        if size in found:
            raise InputError(
                f'scales {found[size]:g} and {scale:g} both give an input of '
                f'{size[0]}x{size[1]} (sides are multiples of {divisor})'
            )
        found[size] = scale
    return list(found)


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
