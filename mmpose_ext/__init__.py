"""Published human-pose methods as an add-on to MMPose 1.x.

Importing this package registers its modules into MMPose's registries, so
``custom_imports = dict(imports=['mmpose_ext'])`` is all a config needs.
"""

from . import compat

# Before the others, because it makes what they import importable.
compat.apply()

from . import (  # noqa: E402
    codecs,
    datasets,
    deploy,
    engine,
    evaluation,
    models,
)
from .checks.coco.api import read_strictly_in_mmpose  # noqa: E402
from .version import __version__  # noqa: E402

# Left alone, MMPose accepts two images of one id, normalised coordinates,
# corners of boxes and other mistakes, and trains on them.
read_strictly_in_mmpose()

__all__ = [
    '__version__',
    'codecs',
    'compat',
    'datasets',
    'deploy',
    'engine',
    'evaluation',
    'models',
]
