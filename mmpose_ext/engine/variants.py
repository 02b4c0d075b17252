"""Trainings that differ in a few settings, to be compared."""

import json
from pathlib import Path

from ..errors import InputError
from ..files import write_atomic
from .steps import mim, run_step


def write_variant(folder: Path, text: str) -> Path:
    """Write the config of a variant into its folder.

    Args:
        folder (Path): The folder of its results, which names the config.
        text (str): The config.

    Returns:
        Path: The config.

    Raises:
        InputError: The folder has a config of other settings.
    """
    # Not in the folder itself: a runner dumps the whole config there, under
    # the same name.
    path = folder / 'config' / f'{folder.name}.py'
    if path.exists() and path.read_text() != text:
        raise InputError(
            f"'{path}' is of a run with other settings: choose another "
            '--work-dir, or remove it'
        )
    write_atomic(path, text.encode())
    return path


def train_and_test(config: Path, epochs: int, title: str) -> dict:
    """Train and test a variant, in processes of their own.

    What is done is not done again, and an interrupted training goes on.

    Args:
        config (Path): As of :func:`write_variant`; checkpoints and metrics go
            to the variant's folder.
        epochs (int): How many the config trains for.
        title (str): What the variant is, for the user.

    Returns:
        dict: The metrics.

    Raises:
        SystemExit: The training or the test failed.
    """
    folder = config.parents[1]
    checkpoint = folder / f'epoch_{epochs}.pth'
    metrics = folder / 'metrics.json'
    common = ('--gpus', 0, '--work-dir', folder)
    run_step(
        f'Train: {title}',
        checkpoint,
        *mim('train', 'mmpose_ext', config, *common, '--resume'),
    )
    run_step(
        f'Test: {title}',
        metrics,
        *mim('test', 'mmpose_ext', config, '--checkpoint', checkpoint),
        *(*common, '--out', metrics),
    )
    return json.loads(metrics.read_text())
