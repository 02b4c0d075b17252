"""mmcv's operators without compiling: what stands in for ``mmcv._ext``.

mmcv's Python code calls these functions by name and position, with tensors
that it allocated for their outputs.
"""

from typing import Any, Callable


def __getattr__(name: str) -> Callable:
    """An operator that is not here: it can be looked up, but not called."""
    if name.startswith('__'):
        raise AttributeError(name)

    def missing(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f'mmcv.ops.{name} needs a compiled mmcv '
            '(see docs/install.md of mmpose_ext)'
        )

    return missing
