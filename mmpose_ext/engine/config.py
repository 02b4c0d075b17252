"""Configs, by the names that users have for them."""

from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config

from ..errors import InputError, did_you_mean


def load_config(name: str) -> Config:
    """Load a config by path, by base name, or from a package.

    Args:
        name (str): A path; or, as mim takes it, the base name of a config
            of mmpose_ext or MMPose, ``.py`` or not; or the path in a
            package's configs, ``mmpose::body_2d_keypoint/...``.

    Raises:
        InputError: There is no such config, or it cannot be read.
    """
    path = _find_config(name)
    try:
        return Config.fromfile(path)
    except Exception as e:  # A config is a program: anything may go wrong.
        raise InputError(
            f'cannot read config {path}: {type(e).__name__}: {e}'
        ) from e


def _find_config(name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    package, separator, inner = name.partition('::')
    if separator:
        path = _configs_of(package) / inner
        if not path.is_file():
            raise InputError(f'{package} has no config {inner}')
        return path

    stem = Path(name).name.removesuffix('.py')
    known = [
        path
        for package in ('mmpose_ext', 'mmpose')
        for path in _configs_of(package).rglob('*.py')
    ]
    found = [path for path in known if path.stem == stem]
    if len(found) > 1:
        raise InputError(
            f"'{name}' is ambiguous, give one of these paths: "
            + ', '.join(map(str, found))
        )
    if not found:
        raise InputError(
            f"config '{name}' does not exist, and neither mmpose_ext nor "
            'mmpose has one of that name'
            + did_you_mean(stem, [path.stem for path in known])
        )
    return found[0]


def _configs_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"package '{package}' is not installed")
    return Path(spec.origin).parent / '.mim' / 'configs'
