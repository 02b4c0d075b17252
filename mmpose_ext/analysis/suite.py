"""The benchmarks of the project's page."""

from dataclasses import dataclass
from typing import List, Sequence, Tuple

_COCO = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
_HRNET = f'{_COCO}td-hm_hrnet-w32_8xb64-210e_coco-256x192.py'
_HRNET_384 = f'{_COCO}td-hm_hrnet-w32_8xb64-210e_coco-384x288.py'
_HRNET_MPII = (
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/'
    'td-hm_hrnet-w32_8xb64-210e_mpii-256x256.py'
)
_DEKR = (
    'mmpose::body_2d_keypoint/dekr/coco/'
    'dekr_hrnet-w32_8xb10-140e_coco-512x512.py'
)
_RAM_GPR = 'configs/ram_gpr/ram-gpr_hrnet-w32_4xb8-240e_coco-256x192.py'
_RAM = 'configs/ram_gpr/ram_hrnet-w32_4xb8-240e_coco-256x192.py'
_PSM = 'configs/psm/psm_hrnet-w32_8xb32-210e_coco-384x288.py'
_CPM = 'configs/gccpm/gccpm-{}stage_ushape_mobilenet-v1_1xb32-100e_{}.py'
_CPM2 = _CPM.format(2, 'lip-256x256')
_CPM6 = _CPM.format(6, 'lip-256x256')
_CPM6_MPII = _CPM.format(6, 'mpii-256x256')
_TOY = 'configs/ram_gpr/ram-gpr_hrnet-w16_1xb8-15e_toy-persons-128x96.py'
_LOGOCAP = 'configs/logocap/logocap_hrnet-w32_4xb12-140e_coco-512x512.py'
# The toy config without what RAM and GPR change.
_PLAIN_HRNET = (
    'model.backbone.type=HRNet',
    'model.neck=None',
    'model.backbone.extra.stage4.multiscale_output=False',
)

_MAPS = 'input_size=(256, 256), heatmap_size=(32, 32)'

_THREADS = ('--threads', '2')
_ISOLATED = ('--isolate', '--min-seconds', '0.5', '--rounds', '9')
_RUNTIMES = (
    *('channels-last', 'compiled', 'onnxruntime', 'openvino'),
    *('openvino-int8', 'eager'),
)


@dataclass(frozen=True)
class Benchmark:
    """A result of the page.

    Args:
        section (str): Of the page.
        title (str): Of the result, the only one of its section.
        arguments (tuple[str, ...]): Of the tool.
        tool (str): The tool's file in ``tools/analysis``. Defaults to
            ``'benchmark.py'``.
    """

    section: str
    title: str
    arguments: Tuple[str, ...]
    tool: str = 'benchmark.py'


def _runtimes(
    title: str, config: str, *more: str, shape: Sequence[int] = ()
) -> Benchmark:
    specs = [*more, *(f'{runtime}:{config}' for runtime in _RUNTIMES)]
    options = [*_THREADS, *_ISOLATED]
    if shape:
        options += ['--shape', *map(str, shape)]
    return Benchmark(
        'Inference runtimes', f'{title}, batch 1', (*specs, *options)
    )


def _one_process(title: str, config: str) -> Benchmark:
    return Benchmark(
        'Inference runtimes',
        f'{title}, batch 1, both in one process',
        (
            *(f'openvino:{config}', f'eager:{config}'),
            *(*_THREADS, '--min-seconds', '0.5', '--rounds', '9'),
        ),
    )


def _training(
    title: str, configs: Sequence[str], batch: int
) -> List[Benchmark]:
    specs = [f'train:{config}' for config in configs]
    common = (*specs, '--batch', str(batch), *_THREADS)
    title = f'{title}, batch {batch}'
    return [
        Benchmark(
            'Training step',
            title,
            (*common, '--rounds', '4', '--warmup', '1'),
        ),
        Benchmark(
            'Memory of training',
            title,
            (*common, '--memory', '--warmup', '3'),
        ),
    ]


def _codec(title: str, *arguments: str) -> Benchmark:
    return Benchmark(
        'Codecs', title, (*arguments, *_THREADS, '--rounds', '40')
    )


def _transform(
    title: str, *transforms: str, shape: Sequence[int] = (480, 640)
) -> Benchmark:
    specs = [f'transform:{transform}' for transform in transforms]
    options = (*_THREADS, '--rounds', '40', '--shape', *map(str, shape))
    return Benchmark('Transforms', title, (*specs, *options))


def _test(title: str, *arguments: str) -> Benchmark:
    return Benchmark(
        'Whole test of the toy persons, with flip',
        title,
        (*arguments, *_THREADS, '--rounds', '3'),
        tool='test_speed.py',
    )


def _occlusion(
    title: str, ours: str, number: tuple, sides: tuple, fill: str
) -> List[Benchmark]:
    """One of ours on a photo and on a network input, and CoarseDropout.

    ``ours`` has SIZE where the range of the holes' sides in px belongs, which
    are fractions of the shorter side of the image.
    """
    made = []
    for h, w in ((480, 640), (256, 192)):
        size = tuple(round(side * min(h, w)) for side in sides)
        theirs = (
            f"dict(type='CoarseDropout', num_holes_range={number}, "
            f'hole_height_range={size}, hole_width_range={size}, '
            f'fill={fill}, p=1)'
        )
        made.append(
            _transform(
                f"{title}, and Albumentations' CoarseDropout, {h}x{w}",
                *(ours.replace('SIZE', str(size)), _albumentation(theirs)),
                shape=(h, w),
            )
        )
    return made


def _hot_spots(title: str, *arguments: str) -> Benchmark:
    few = ('--profile', '--rounds', '3', '--warmup', '1')
    return Benchmark('Hot spots', title, (*arguments, *_THREADS, *few))


def _albumentation(transform: str) -> str:
    """The way of an MMPose user to a transform of Albumentations."""
    return f"dict(type='Albumentation', transforms=[{transform}])"


SUITE = [
    _runtimes('GCCPM, 2 stages', _CPM2),
    _runtimes('GCCPM, 6 stages', _CPM6),
    _runtimes(
        "RAM + GPR W32, and MMPose's HRNet W32",
        _RAM_GPR,
        *(f'openvino:{_HRNET}', f'eager:{_HRNET}'),
    ),
    _one_process('GCCPM, 2 stages', _CPM2),
    _one_process('RAM + GPR W32', _RAM_GPR),
    _runtimes('PSM W32 at 384x288', _PSM),
    _runtimes('LOGO-CAP W32 at 256x256', _LOGOCAP, shape=(256, 256)),
    Benchmark(
        'Images to poses',
        'Bottom-up, 30 centres, flip test and NMS',
        (
            *(f'predict:{_LOGOCAP}', f'predict:{_DEKR}'),
            *(*_THREADS, *_ISOLATED),
        ),
    ),
    Benchmark(
        'Images to poses',
        'Top-down, as each config tests, batch 1',
        (
            *(f'predict:{_CPM2}', f'predict:{_CPM6}'),
            *(f'predict:{_RAM_GPR}', f'predict:{_HRNET}'),
            *(*_THREADS, *_ISOLATED),
        ),
    ),
    *_training('RAM and GPR at 256x192', (_RAM_GPR, _RAM, _HRNET), 8),
    *_training('PSM at 384x288', (_PSM, _HRNET_384), 2),
    *_training('GCCPM at 256x256', (_CPM2, _CPM6_MPII, _HRNET_MPII), 8),
    _codec(
        "LOGO-CAP's CenterOffset and MMPose's SPR, 3 persons",
        f'encode:{_LOGOCAP}',
        f'encode:{_DEKR}',
    ),
    _codec(
        "BackgroundHeatmap and MMPose's MSRAHeatmap, 17 keypoints",
        f"encode:dict(type='BackgroundHeatmap', {_MAPS}, sigma=7)",
        # Cells of 8 pixels.
        f"encode:dict(type='MSRAHeatmap', {_MAPS}, sigma=0.875)",
        *('--persons', '1'),
    ),
    Benchmark(
        'Codecs',
        'Decoding, refinement and NMS of 30 centres, and the backbone',
        (
            *(f'decode:{_LOGOCAP}', f'{_LOGOCAP}@backbone'),
            *(*_THREADS, '--rounds', '5', '--warmup', '1'),
        ),
    ),
    *_occlusion(
        'Cutout',
        "dict(type='Cutout', size=SIZE)",
        *((1, 1), (0.25, 0.5), '(104, 116, 124)'),
    ),
    *_occlusion(
        'Cutout with noise',
        "dict(type='Cutout', size=SIZE, fill='noise')",
        *((1, 1), (0.25, 0.5), "'random'"),
    ),
    # On average its quadrangles have the area of these squares.
    *_occlusion(
        'BodyMasking',
        "dict(type='BodyMasking', prob=1)",
        *((1, 1), (0.25, 0.45), '128'),
    ),
    *_occlusion(
        'BodyMasking with noise, hidden keypoints marked',
        "dict(type='BodyMasking', prob=1, fill='noise', mark_occluded=True)",
        *((1, 1), (0.25, 0.45), "'random'"),
    ),
    *_occlusion(
        'KeypointMasking of 3 persons',
        "dict(type='KeypointMasking', size=SIZE, prob=1)",
        *((3, 12), (0.05, 0.15), '128'),
    ),
    *_occlusion(
        'KeypointMasking of 3 persons with background',
        "dict(type='KeypointMasking', size=SIZE, prob=1, fill='background')",
        *((3, 12), (0.05, 0.15), '128'),
    ),
    _transform(
        "ChannelPermutation and Albumentations' ChannelShuffle, 480x640",
        "dict(type='ChannelPermutation', prob=1)",
        _albumentation("dict(type='ChannelShuffle', p=1)"),
    ),
    _transform(
        "PaddedTopdownAffine and MMPose's TopdownAffine, 480x640",
        "dict(type='PaddedTopdownAffine', input_size=(256, 256))",
        "dict(type='TopdownAffine', input_size=(256, 256))",
    ),
    _transform(
        "BottomupShortSideAffine and MMPose's BottomupRandomAffine",
        "dict(type='BottomupShortSideAffine', input_size=(512, 512))",
        "dict(type='BottomupRandomAffine', input_size=(512, 512))",
    ),
    _transform(
        "BottomupShortSideResize and MMPose's BottomupResize",
        "dict(type='BottomupShortSideResize', input_size=(512, 512))",
        "dict(type='BottomupResize', input_size=(512, 512), "
        "resize_mode='expand')",
    ),
    _transform(
        "BottomupGridMask and MMPose's BottomupGetHeatmapMask",
        "dict(type='BottomupGridMask')",
        "dict(type='BottomupGetHeatmapMask')",
    ),
    _test(
        "MMPose's HRNet W16, by tools/test.py of this package and of MMPose",
        *(_TOY, '--cfg-options', *_PLAIN_HRNET),
    ),
    _test(
        "RAM + GPR W16 by this package, MMPose's HRNet W16 by MMPose",
        *(_TOY, '--against-options', *_PLAIN_HRNET),
    ),
    Benchmark(
        'Data loading',
        'Toy persons, batch 8',
        (
            f'batch:{_TOY}',
            f'train:{_TOY}',
            *('--batch', '8', *_THREADS, '--rounds', '10', '--warmup', '1'),
        ),
    ),
    *(
        _hot_spots(title, *arguments)
        for title, *arguments in (
            ('Network of RAM + GPR W32', f'eager:{_RAM_GPR}'),
            ('Network of GCCPM, 2 stages', f'eager:{_CPM2}'),
            ('Images to poses, LOGO-CAP W32', f'predict:{_LOGOCAP}'),
            ('Training of RAM + GPR W32', f'train:{_RAM_GPR}', '--batch', '8'),
            ('Targets of LOGO-CAP', f'encode:{_LOGOCAP}'),
            ('A batch of the toy persons', f'batch:{_TOY}', '--batch', '8'),
        )
    ),
]
"""All benchmarks of the page, in the order of its sections.

The whole test and data loading need the data of ``tools/make_toy_persons.py``.
"""
