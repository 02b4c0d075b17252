"""What other packages break, one module per thing, and its repair.

:func:`apply` runs when ``mmpose_ext`` is imported and repairs what every user
meets; :func:`setup_cpu_distributed` is for the tools and
:func:`keep_boxes_in_float32` for MMDet. Each does nothing where nothing is
broken.
"""

import importlib
import warnings

import numpy as np

from .checkpoint_loader import (
    load_checkpoints_safely,
    run_no_config_of_checkpoints,
)
from .distributed import setup_cpu_distributed
from .drawn_circles import draw_circles_of_arrays
from .loaded_weights import report_what_is_loaded
from .mixed_precision import (
    allow_amp_on_cpu,
    convert_bfloat16_to_numpy,
    keep_boxes_in_float32,
    run_operators_in_float32,
)
from .stand_ins import stand_in
from .thin_images import keep_thin_images
from .torchvision_ops import declare_torchvision_ops

__all__ = ['apply', 'keep_boxes_in_float32', 'setup_cpu_distributed']


def apply() -> None:
    """Repair what is broken; a second call changes nothing.

    To be called before anything imports torchvision, which MMPose does.
    """
    declare_torchvision_ops()
    _provide_pkg_resources()
    _provide_operators()
    _provide_xtcocotools()
    load_checkpoints_safely()
    run_no_config_of_checkpoints()
    report_what_is_loaded()
    convert_bfloat16_to_numpy()
    run_operators_in_float32()
    allow_amp_on_cpu()
    keep_thin_images()
    draw_circles_of_arrays()


def _provide_operators() -> None:
    """Let mmcv's operators run without its compiled part."""
    stand_in(
        'mmcv._ext',
        {'mmcv._ext': f'{__name__}.operators'},
        lambda: importlib.import_module('mmcv._ext'),
    )


def _provide_xtcocotools() -> None:
    """Let MMPose evaluate without xtcocotools, or with one that is broken."""
    modules = [
        f'xtcocotools{end}' for end in ('', '.coco', '.cocoeval', '.mask')
    ]
    stand_in(
        'xtcocotools',
        {name: f'{__name__}.{name}' for name in modules},
        _try_xtcocotools,
    )


def _try_xtcocotools() -> None:
    importlib.import_module('xtcocotools.cocoeval')
    importlib.import_module('xtcocotools.coco')
    mask = importlib.import_module('xtcocotools.mask')
    # Built against numpy 2 it imports, and fails here.
    mask.decode(mask.encode(np.zeros((1, 1), np.uint8, order='F')))


def _provide_pkg_resources() -> None:
    """Let MMEngine find packages where setuptools 82 is installed."""
    stand_in(
        'pkg_resources',
        {'pkg_resources': f'{__name__}.pkg_resources'},
        _import_pkg_resources,
    )


def _import_pkg_resources() -> None:
    """It says that it is deprecated; an old one fails on Python 3.12."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        importlib.import_module('pkg_resources')
