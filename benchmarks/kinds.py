"""What can be timed: ``KIND:WHAT``, as a user names it."""

import torch

from mmpose_ext.errors import InputError, did_you_mean

from . import data, evaluation, networks, operators
from .measure import Call

# Those of torch, of other runtimes and with many objects of Python, which
# disturb each other.
ISOLATED = {
    **dict.fromkeys(networks.RUNTIMES, networks.load_runtime),
    'predict': networks.load_predict,
    'train': networks.load_train,
    **dict.fromkeys(operators.KINDS, operators.load_operators),
    **dict.fromkeys(evaluation.KINDS, evaluation.load_evaluate),
}
LOADERS = {
    **ISOLATED,
    'encode': data.load_encode,
    'transform': data.load_transform,
    'batch': data.load_batches,
    **dict.fromkeys(('read', 'json'), data.load_annotations),
    **dict.fromkeys(data.TOOLS, data.load_test),
}


def kind_of(spec: str) -> str:
    """The kind of a spec."""
    kind = spec.partition(':')[0]
    if kind not in LOADERS:
        raise InputError(
            f"'{spec}' is neither a benchmark of the page nor KIND:WHAT with "
            f'one of {", ".join(LOADERS)}{did_you_mean(kind, LOADERS)}'
        )
    return kind


def load(spec: str, **options) -> Call:
    """Make the call of a spec and try it out: any config may be named."""
    kind, _, what = spec.partition(':')
    try:
        call = LOADERS[kind](kind, what, **options)
        if not call.grad and not call.own_clock:
            with torch.inference_mode():
                call.function()
        return call
    except InputError:
        raise
    except Exception as e:
        raise InputError(f'{spec}: {type(e).__name__}: {e}') from e
