from pathlib import Path
from typing import Union

from mmengine.fileio import LocalBackend, register_backend

from ..files import write_atomic


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """Local files, written atomically: a killed process leaves them whole.

    MMEngine writes a checkpoint straight to its name, and where a best one
    is kept it writes the checkpoint of the epoch a second time, over the
    one that a resumed run would start from. With this backend a file keeps
    its old content until the new one is complete::

        default_hooks = dict(
            checkpoint=dict(backend_args=dict(backend='atomic')))

    Only ``put`` differs from :class:`mmengine.fileio.LocalBackend`; see
    :func:`mmpose_ext.files.replacing`.
    """

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        write_atomic(filepath, obj)
