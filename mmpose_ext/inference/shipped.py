"""The trained models that are in the package, by the names of their configs.

``mmpose_ext/weights/README.md`` tells what they were trained on.
"""

from pathlib import Path
from typing import List, Tuple

from ..engine.config import find_config
from ..errors import InputError, did_you_mean

WEIGHTS = Path(__file__).resolve().parents[1] / 'weights'
# What the demos use where no model is named.
DEFAULT_MODEL = (
    'gccpm-2stage_ushape_mobilenet-v1-w0.75_1xb16-30e_lspet-160x160'
)
# In bytes: the package is to remain a small download.
LARGEST_FILE = 5_000_000
LARGEST_TOTAL = 12_000_000


def shipped_models() -> List[str]:
    """The names of the models, sorted."""
    return sorted(path.name[: -len('.pth')] for path in WEIGHTS.glob('*.pth'))


def find_shipped(name: str) -> Tuple[Path, Path]:
    """The files of a model.

    Args:
        name (str): A name of :func:`shipped_models`, or the path of the
            config of that name.

    Returns:
        tuple[Path, Path]: The config and the weights.

    Raises:
        InputError: If no model of this name is in the package.
    """
    names, stem = shipped_models(), Path(name).name.removesuffix('.py')
    if stem not in names:
        raise InputError(
            f"'{name}' needs a checkpoint: the models that have theirs in the "
            f'package are {", ".join(names) or "none"}'
            + did_you_mean(stem, names)
        )
    return find_config(name), WEIGHTS / f'{stem}.pth'
