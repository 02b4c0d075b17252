"""Installed packages that do not fit each other, and what to type."""

import contextlib
import importlib
import importlib.util
import re
import warnings
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Dict, Optional

from packaging.version import Version

# Distributions that put their files in one place.
MMCV = ('mmcv', 'mmcv-lite', 'onedl-mmcv')
OPENCV = (
    'opencv-python',
    'opencv-contrib-python',
    'opencv-python-headless',
    'opencv-contrib-python-headless',
)
# Of a line such as "mmcv <2.2.0,>=2.0.0rc4 ; extra == 'mim'".
_MMCV_BOUNDS = re.compile(r'mmcv *\(?([<>=!~][^;)]*)')
# Modules with compiled parts, which are made for a range of numpys. All but
# the small last one are imported by ``mmpose_ext`` in any case.
_BUILT_FOR_NUMPY = (
    'torch',
    'cv2',
    'matplotlib.path',
    'scipy.special',
    'pycocotools.mask',
)


def installed(*names: str) -> Dict[str, str]:
    """The versions of those of some distributions that are installed."""
    versions = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    # None is what is left of a broken one.
    return {name: found for name, found in versions.items() if found}


def join(*names: str) -> str:
    """Those of the distributions that are installed, as 'a 1.0 and b 2.0'."""
    return ' and '.join(f'{n} {v}' for n, v in installed(*names).items())


def warn(message: str) -> None:
    """Say once what does not fit, but can be worked with."""
    warnings.warn(message, stacklevel=3)


def check() -> None:
    """Look for what other packages would report in their own words, later.

    Warns where the packages work together all the same.

    Raises:
        ImportError: If they cannot.
    """
    _check_that_all_are_there()
    _check_opencv()
    _check_numpy()
    _check_mmcv()


def fitting_torchvision() -> str:
    """What to type for the torchvision of this torch, which stays."""
    minor = _minor_of_torchvision()
    if minor is None:
        return 'pip install torchvision'
    torch = Version(version('torch')).public
    return f"pip install torch=={torch} 'torchvision==0.{minor}.*'"


def torchvision_belongs_to_torch() -> bool:
    """Whether the versions do; also where they tell nothing."""
    minor = _minor_of_torchvision()
    found = installed('torchvision').get('torchvision', '')
    return minor is None or Version(found or f'0.{minor}').minor == minor


def _minor_of_torchvision() -> Optional[int]:
    """By PyTorch's rule: torchvision 0.15 is of torch 2.0, and so on."""
    torch = Version(installed('torch').get('torch', '0'))
    return torch.minor + 15 if torch.major == 2 else None


def compiled_mmcv() -> str:
    """What to type for an mmcv with all of its operators.

    Torch is not seen where the build is isolated, and pip's cache may have a
    build without operators.
    """
    return (
        f"{_remove(*MMCV)}pip install 'setuptools<82' && MMCV_WITH_OPS=1 "
        'pip install --no-build-isolation --no-cache-dir '
        f"'mmcv{_bounds_of_mmcv()}'"
    )


def mmcv_lite() -> str:
    """What to type for an mmcv without compiled operators."""
    return f"{_remove(*MMCV)}pip install 'mmcv-lite{_bounds_of_mmcv()}'"


def ways_to_mmcv() -> str:
    """What to type for either kind of mmcv."""
    return (
        f'Type: {mmcv_lite()}, or for compiled operators, with a compiler: '
        f'{compiled_mmcv()}'
    )


def _remove(*names: str) -> str:
    there = ' '.join(installed(*names))
    return there and f'pip uninstall -y {there} && '


def _bounds_of_mmcv() -> str:
    """MMDet's, where it is installed: they are narrower than MMPose's."""
    for name in installed('mmdet', 'mmpose'):
        for bounds in map(_MMCV_BOUNDS.match, requires(name) or ()):
            if bounds:
                return bounds[1].strip()
    return '>=2.1'


def _check_that_all_are_there() -> None:
    for module, command in (
        ('torch', lambda: 'pip install torch torchvision'),
        ('torchvision', fitting_torchvision),
        ('numpy', lambda: 'pip install numpy'),
        ('mmengine', lambda: 'pip install mmengine'),
        ('mmcv', mmcv_lite),
        # Two of its requirements are never imported, or replaced here.
        (
            'mmpose',
            lambda: (
                "pip install --no-deps 'mmpose>=1.3,<2' && pip install "
                'json-tricks munkres scipy'
            ),
        ),
        # MMPose's heads import it.
        ('mmdet', lambda: "pip install 'mmdet>=3.0,<4'"),
    ):
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f'mmpose_ext needs {module}, which is not installed. Type: '
                f'{command()}',
                name=module,
            )


def _check_mmcv() -> None:
    there = installed(*MMCV)
    for name in ('mmpose', 'mmdet'):
        # Asked themselves, because these bounds are often edited.
        try:
            importlib.import_module(name)
        except AssertionError as e:
            if 'MMCV' not in f'{e}':
                raise  # of MMEngine, where it says what to install
            raise ImportError(
                f'{join(name)} does not take {join(*there)}: {e} '
                f'{ways_to_mmcv()}'
            ) from None
        except ImportError:
            continue  # as of MMDet, which may be missing
    if len(there) > 1:
        warn(
            f'{join(*there)} are both installed and share a folder, where '
            f'the last one has replaced files of the others. {ways_to_mmcv()}'
        )


def _check_opencv() -> None:
    there = installed(*OPENCV)
    # One alone: the others need not be there in its version.
    kept = next((f'{name}=={found}' for name, found in there.items()), '')
    command = f'{_remove(*OPENCV)}pip install --no-deps {kept}'
    spec = importlib.util.find_spec('cv2')
    if spec is None or spec.origin is None:
        raise ImportError(
            f'the files of {join(*there)} are gone, as after another of the '
            f'packages of OpenCV was uninstalled. Type: {command}'
            if there
            else 'mmpose_ext needs OpenCV, which is not installed. Type: pip '
            'install opencv-python',
            name='cv2',
        )
    if len(set(there.values())) > 1:
        warn(
            f'{join(*there)} are both installed and share a folder, where '
            f'the last one has replaced files of the others. Type: {command}'
        )


def _check_numpy() -> None:
    import numpy

    names, reason = [], ''
    for module in _BUILT_FOR_NUMPY:
        try:
            loaded = importlib.import_module(module)
            if module == 'torch':
                loaded.zeros(0).numpy()
        except Exception as e:  # of many kinds
            if 'numpy' not in str(e).lower():
                continue  # not for here: whoever needs it will say more
            package = module.partition('.')[0]
            names += installed(*OPENCV) if package == 'cv2' else [package]
            reason = reason or f'{e}'.strip().partition('\n')[0]
    if names:
        # Torch is not to be moved. The others are small.
        is_new = Version(numpy.__version__).major > 1 and 'torch' not in names
        raise ImportError(
            f'{join(*names)} cannot work with numpy {numpy.__version__} '
            f'({reason}). Type: pip install -U '
            + (' '.join(names) if is_new else "'numpy<2'")
        )
