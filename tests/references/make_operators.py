"""Write what a compiled mmcv's operators return, for where there is none.

    python tests/references/make_operators.py

The cases are those of the tests of what stands in for it.
"""

import contextlib
import importlib
import itertools
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Callable, Dict, Iterator, List, Optional
from unittest import mock

import mmcv.ops
import numpy as np
import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1]))
from small_detectors import DETECTORS, detect

STORED = Path(__file__).with_name('operators.npz')

# Sides of a kernel, then stride, padding, dilation, groups and deform_groups.
CONVOLUTIONS = {
    'usual': ((3, 3), 1, 1, 1, 1, 1),
    'strides': ((3, 3), 2, 1, 1, 2, 2),
    'a row': ((1, 3), (1, 2), (0, 1), 1, 1, 4),
    'unlike sides': ((3, 2), (2, 1), (3, 0), (2, 3), 4, 2),
    'no padding': ((3, 2), 1, 0, 2, 1, 1),
}

# mmcv's sort is not stable, and the order of equal scores that of a
# processor: it is not stored.
TIES = 'equal scores'


@contextlib.contextmanager
def over(extension: ModuleType) -> Iterator[None]:
    """Let mmcv's Python code call the operators of an extension."""
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
                stack.enter_context(
                    mock.patch.object(module, 'ext_module', extension)
                )
        yield


def outcome(name: str, extension: ModuleType) -> np.ndarray:
    """All that mmcv's Python code returns over an extension, in a row."""
    with over(extension):
        returned = CASES[name]()
    return np.concatenate([np.ravel(x.detach()) for x in returned])


def draw_boxes(count: int, side: float = 100) -> Tensor:
    """(count, 4), in a square."""
    drawn = np.random.RandomState(count).uniform(size=(count, 4))
    corners = drawn[:, :2] * side
    boxes = np.hstack([corners, corners + drawn[:, 2:] * side / 2])
    return torch.from_numpy(boxes).float()


def draw_scores(count: int, levels: Optional[int] = None) -> Tensor:
    """(count,), all different unless there are fewer levels."""
    drawn = np.random.RandomState(count + 1).permutation(count)
    levels = levels or count or 1
    return torch.from_numpy(drawn % levels / levels).float()


def _boxes() -> Dict[str, Tensor]:
    """Boxes and scores, (n, 5)."""
    few = draw_boxes(30)
    flat = few.clone()
    flat[:10, 2] = flat[:10, 0]
    flat[10:20, 3] = flat[10:20, 1] - 5
    flat[5:8] = flat[5]
    boxes = {
        'random': few,
        'many': draw_boxes(300),
        'none': few[:0],
        'one': few[:1],
        'identical': few[:1].repeat(5, 1),
        'no area': flat,
        'huge': few * 1e6 - 3e7,
        'negative': few - 1000,
    }
    boxes = {
        name: torch.cat([b, draw_scores(len(b))[:, None]], 1)
        for name, b in boxes.items()
    }
    ties = torch.cat([draw_boxes(300), draw_scores(300, 4)[:, None]], 1)
    return {**boxes, TIES: ties}


def _regions() -> Tensor:
    """(n, 5) regions of two maps of 9 rows and 11 columns of 4 pixels."""
    boxes = draw_boxes(12, 40)
    boxes[3:9] = torch.tensor(
        [
            [-30, -9, 60, 50],  # around the map
            [44, 36, 60, 50],  # at its last corner
            [100, 100, 140, 120],  # beyond
            [-3000, 8, 2000, 30],
            [8, 8, 8, 30],  # no width
            [9, 9, 9.5, 9.5],
        ]
    )
    return torch.cat([torch.arange(12)[:, None] % 2, boxes], 1)


def _nms(boxes: Tensor, **kwargs: float) -> List[Tensor]:
    return [mmcv.ops.nms(boxes[:, :4], boxes[:, 4], **kwargs)[1]]


def _batched_nms(boxes: Tensor) -> List[Tensor]:
    classes = torch.arange(len(boxes)) % 3
    cfg = {'type': 'nms', 'iou_threshold': 0.5}
    return [mmcv.ops.batched_nms(boxes[:, :4], boxes[:, 4], classes, cfg)[1]]


def _soft_nms(boxes: Tensor, **kwargs: object) -> List[Tensor]:
    dets, kept = mmcv.ops.soft_nms(
        boxes[:, :4], boxes[:, 4], min_score=0.1, **kwargs
    )
    return [dets[:, 4], kept]


def _nms_match(boxes: Tensor) -> List[Tensor]:
    groups = mmcv.ops.nms_match(boxes, 0.3)
    return [torch.tensor([len(group) for group in groups]), *groups]


def _roi_align(regions: Tensor, **kwargs: object) -> List[Tensor]:
    drawn = np.random.RandomState(0).normal(size=(2, 2, 9, 11))
    maps = torch.from_numpy(drawn).to(regions).requires_grad_()
    pooled = mmcv.ops.RoIAlign((2, 3), 0.25, **kwargs)(maps, regions)
    direction = torch.linspace(-1, 1, pooled.numel()).view_as(pooled)
    pooled.backward(direction.to(pooled))
    return [pooled, maps.grad]


def draw_convolution(name: str) -> List[Tensor]:
    """Maps, offsets, mask, weights and bias of a deformable convolution."""
    kernel, *sides, groups, deform_groups = CONVOLUTIONS[name]
    shape = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(
            (5, 7), kernel, *(np.broadcast_to(x, 2) for x in sides)
        )
    ]
    cells = deform_groups * kernel[0] * kernel[1]
    rng = np.random.RandomState(0)
    drawn = [
        torch.from_numpy(rng.normal(size=shape)).float()
        for shape in (
            (2, 4, 5, 7),
            (2, 2 * cells, *shape),
            (2, cells, *shape),
            (4, 4 // groups, *kernel),
            (4,),
        )
    ]
    # Of the second map: 0, whole cells, and far beyond.
    offset = drawn[1][1]
    offset[..., ::3] = 0
    offset[..., 1::3] = (2 * offset[..., 1::3]).round()
    offset[..., 2::3] *= 100
    return drawn


def convolve(
    name: str, modulated: bool, drawn: List[Optional[Tensor]]
) -> List[Tensor]:
    """A deformable convolution, and its gradients."""
    x, offset, mask, weight, bias = drawn = [
        x if x is None else x.detach().requires_grad_() for x in drawn
    ]
    _, *settings = CONVOLUTIONS[name]
    if modulated:
        out = mmcv.ops.modulated_deform_conv2d(
            x, offset, mask, weight, bias, *settings
        )
    else:
        out = mmcv.ops.deform_conv2d(x, offset, weight, *settings)
    direction = torch.linspace(-1, 1, out.numel()).view_as(out)
    out.backward(direction.to(out))
    grads = [x.grad for x in drawn if x is not None]
    return [out, *(grad for grad in grads if grad is not None)]


def _make_cases() -> Dict[str, Callable[[], List[Tensor]]]:
    """Results and gradients by the names of operator and case."""
    made = {}
    for name, boxes in _boxes().items():
        for offset in (0, 1):
            made[f'nms of {name}, offset {offset}'] = partial(
                _nms, boxes, iou_threshold=0.3, offset=offset
            )
            for method in ('naive', 'linear', 'gaussian'):
                if method == 'gaussian' and name == 'no area':
                    continue  # NaN in mmcv
                made[f'soft_nms of {name}, {method}, offset {offset}'] = (
                    partial(_soft_nms, boxes, method=method, offset=offset)
                )
        made[f'nms of {name}, the best'] = partial(
            _nms, boxes, iou_threshold=0.5, score_threshold=0.3, max_num=5
        )
        made[f'nms_match of {name}'] = partial(_nms_match, boxes)
        if len(boxes):
            made[f'batched_nms of {name}'] = partial(_batched_nms, boxes)
    for mode, aligned, samples, dtype in itertools.product(
        ('avg', 'max'), (False, True), (0, 2), ('float32', 'float64')
    ):
        name = f'{mode}, {dtype}, aligned {aligned}, {samples} samples'
        for which, regions in {
            'some': _regions(),
            'none': _regions()[:0],
        }.items():
            made[f'roi_align of {which}, {name}'] = partial(
                _roi_align,
                regions.to(getattr(torch, dtype)),
                sampling_ratio=samples,
                pool_mode=mode,
                aligned=aligned,
            )
    for name in CONVOLUTIONS:
        for modulated in (False, True):
            key = f'deform_conv of {name}, modulated {modulated}'
            drawn = draw_convolution(name)
            made[key] = partial(convolve, name, modulated, drawn)
    for name in DETECTORS:
        made[f'detector of {name}'] = partial(detect, name)
    return made


CASES = _make_cases()


def main() -> None:
    compiled = importlib.import_module('mmcv._ext')
    stored = {
        name: outcome(name, compiled) for name in CASES if TIES not in name
    }
    np.savez_compressed(STORED, **stored)


if __name__ == '__main__':
    main()
