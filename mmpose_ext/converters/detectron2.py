"""Read the checkpoints of Detectron2."""

import re
from typing import Any, Dict, Mapping

import numpy as np
import torch
from torch import Tensor

from ..checks import check_file
from ..compat.checkpoint_file import load_checkpoint, load_pickle
from ..errors import InputError

# A weight of each backbone in Caffe2's names, from which training starts.
_CAFFE2_KEY = 'conv1_w'


def read_detectron2_weights(path: str) -> Dict[str, Tensor]:
    """Read the weights of a checkpoint, without running what it holds.

    Detectron2's model zoo has ``.pkl`` files, which are pickles of numpy
    arrays, and what Detectron2 trains are ``.pth`` files of torch. In both,
    the weights stand alone or under ``model``, and their names may begin with
    the ``module.`` of a distributed wrapper.

    Args:
        path (str): A local file. What ends in ``.pkl`` is taken for a pickle,
            as Detectron2 does, everything else for a file of torch.

    Returns:
        dict[str, Tensor]: The weights by name, on the CPU.

    Raises:
        InputError: The file is missing or broken, asks for anything but
            arrays and plain values, which is named, or holds no weights; or
            it is in Caffe2's format, as the ImageNet backbones are.
    """
    check_file(path, 'checkpoint')
    if path.endswith('.pkl'):
        content = load_pickle(path)
    else:
        content = load_checkpoint(path, map_location='cpu')
    if not isinstance(content, Mapping):
        raise InputError(
            f"checkpoint '{path}' holds a {type(content).__name__}, expected "
            "weights by name, or such under 'model'"
        )
    weights = content.get('model', content)
    if not isinstance(weights, Mapping) or not weights:
        raise InputError(
            f"checkpoint '{path}' holds a {type(weights).__name__} under "
            "'model', expected weights by name"
        )
    if 'blobs' in content or _CAFFE2_KEY in weights:
        raise InputError(
            f"checkpoint '{path}' is in the format of Caffe2, in which "
            'Detectron2 has the ImageNet backbones; for the one of R-50 use '
            "init_cfg=dict(type='Pretrained', "
            "checkpoint='open-mmlab://detectron2/resnet50_caffe') instead"
        )
    return {
        re.sub(r'^module\.', '', str(key)): _to_tensor(path, key, value)
        for key, value in weights.items()
    }


def _to_tensor(path: str, key: Any, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray) or value.dtype.kind not in 'biuf':
        kind = getattr(value, 'dtype', type(value).__name__)
        raise InputError(
            f"checkpoint '{path}': expected weights by name, got a {kind} "
            f'under {key!r}'
        )
    # A copy: what an unpickler makes can be read-only.
    return torch.from_numpy(value.astype(value.dtype.newbyteorder('=')))
