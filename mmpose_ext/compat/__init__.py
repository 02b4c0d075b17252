"""What other packages break, one module per thing, and its repair.

Importing this refuses packages that cannot work together. :func:`apply`,
which runs when ``mmpose_ext`` is imported, repairs what every user meets;
:func:`setup_cpu_distributed` is for the tools and
:func:`keep_boxes_in_float32` for MMDet. Each does nothing where nothing is
broken. ``python -m mmpose_ext.compat`` tells what was found and done.
"""

import sys

from . import environment
from .report import repairs, report_failed_import

if sys.argv[:1] == ['-m'] and __name__ in getattr(sys, 'orig_argv', ()):
    # Python imports a package before it runs a module in it. The answer to
    # what is broken may be that ``mmpose_ext`` cannot be imported.
    sys.excepthook = report_failed_import

# Before the others, which import what it looks at.
environment.check()

from .checkpoint_loader import (  # noqa: E402
    load_checkpoints_safely,
    run_no_config_of_checkpoints,
)
from .distributed import setup_cpu_distributed  # noqa: E402
from .drawn_circles import draw_circles_of_arrays  # noqa: E402
from .loaded_weights import report_what_is_loaded  # noqa: E402
from .mixed_precision import (  # noqa: E402
    allow_amp_on_cpu,
    convert_bfloat16_to_numpy,
    keep_boxes_in_float32,
    run_operators_in_float32,
)
from .stand_ins import (  # noqa: E402
    provide_operators,
    provide_pkg_resources,
    provide_xtcocotools,
)
from .thin_images import keep_thin_images  # noqa: E402
from .torchvision_ops import declare_torchvision_ops  # noqa: E402

__all__ = ['apply', 'keep_boxes_in_float32', 'setup_cpu_distributed']


# In this order: MMPose and mmcv's operators need torchvision.
_REPAIRS = (
    declare_torchvision_ops,
    provide_pkg_resources,
    provide_operators,
    provide_xtcocotools,
    load_checkpoints_safely,
    run_no_config_of_checkpoints,
    report_what_is_loaded,
    convert_bfloat16_to_numpy,
    run_operators_in_float32,
    allow_amp_on_cpu,
    keep_thin_images,
    draw_circles_of_arrays,
)


def apply() -> None:
    """Repair what is broken; a second call changes nothing.

    To be called before anything imports torchvision, which MMPose does.
    """
    for repair in _REPAIRS[len(repairs) :]:
        repairs.append(repair())
