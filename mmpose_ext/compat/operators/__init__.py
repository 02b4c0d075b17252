"""mmcv's operators without compiling: what stands in for ``mmcv._ext``.

mmcv's Python code calls these functions by name and position, with tensors
that it allocated for their outputs.
"""

import re
from typing import Any, Callable

from .. import environment
from .deform_conv import (  # noqa: F401
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from .focal_loss import (  # noqa: F401
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
)
from .ms_deform_attn import (  # noqa: F401
    ms_deform_attn_backward,
    ms_deform_attn_forward,
)
from .roi_align import roi_align_backward, roi_align_forward  # noqa: F401
from .roi_pool import roi_pool_backward, roi_pool_forward  # noqa: F401
from .suppression import nms, nms_match, softnms  # noqa: F401


def get_compiler_version() -> str:
    """What mmcv was compiled with, for reports of an environment."""
    return 'n/a'


get_compiling_cuda_version = get_compiler_version


def __getattr__(name: str) -> Callable:
    """An operator that is not here: it can be looked up, but not called."""
    if name.startswith('__'):
        raise AttributeError(name)

    def missing(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f'mmcv.ops.{public_name(name)} needs a compiled mmcv '
            f'(with a compiler, type: {environment.compiled_mmcv()})'
        )

    return missing


def public_name(name: str) -> str:
    """An operator as users know it, of whose passes each has a name."""
    return re.sub('_(forward|backward).*', '', name)
