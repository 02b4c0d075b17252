"""How accurate a model is, of PyTorch or exported."""

import math
import re
import uuid
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.runner import Runner, autocast

from ..checks import (
    check_checkpoint_file,
    check_config,
    explain_errors,
)
from ..engine.fast_test import use_fused_flip
from ..engine.hooks import FastTestHook, StrictCheckpointHook
from ..engine.no_detections import accept_no_detections
from ..errors import InputError, did_you_mean
from .pose_model import use_exported
from .runtimes import is_exported

# The default metrics, the first that is there, by their names behind the
# prefix; and their names on an axis.
_ACCURACIES = {
    'AP': 'AP',
    'keypoints_mAP': 'AP',
    'PCKh': 'PCKh',
    'PCK': 'PCK',
    'PCK@0.1': 'PCK@0.1',
}


@dataclass
class EvaluatedModel:
    """A model that has been tested, with what it takes to test it again.

    Args:
        metrics (dict[str, float]): The results of its evaluator.
        predict (Callable): From a batch, as the collated samples of
            ``dataset``, to the poses in pixels of the image.
        dataset (Sequence): The test dataset.
        batch_size (int): The largest batch that ``predict`` takes.
    """

    metrics: Dict[str, float]
    predict: Callable[[Any], Any]
    dataset: Any
    batch_size: int


def check_model(cfg: Config, checkpoint: str) -> None:
    """Check that a model can be tested, and prepare its config.

    Args:
        cfg (Config): The config; made fit for a detection file without a
            box, if it has one.
        checkpoint (str): File or URL of its weights.

    Raises:
        InputError: Names the first thing that is wrong.
    """
    check_checkpoint_file(checkpoint)
    evaluator = cfg.get('test_evaluator')
    if not evaluator:
        raise InputError("expected a 'test_evaluator'")
    empty = check_config(cfg, 'test')
    for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
        if metric.get('format_only'):
            raise InputError(
                'the test_evaluator has format_only=True, but an accuracy '
                'needs ground truth'
            )
    accept_no_detections(cfg, 'test', empty)


def load_and_evaluate(
    cfg: Config,
    checkpoint: str,
    device: str = 'cpu',
    metrics: Optional[Dict[str, float]] = None,
) -> EvaluatedModel:
    """Load a model and test it as ``tools/test.py`` does.

    Args:
        cfg (Config): The config, checked by :func:`check_model`.
        checkpoint (str): File or URL of its weights, or an exported file,
            which has its model in it.
        device (str): Where it runs. Defaults to ``'cpu'``.
        metrics (dict[str, float], optional): The results of an earlier test;
            the model is then only loaded. Defaults to ``None``, it is tested.

    Returns:
        EvaluatedModel: The model.

    Raises:
        InputError: The checkpoint does not fit, or an image cannot be read.
    """
    cfg = cfg.copy()
    cfg.load_from, cfg.resume, cfg.launcher = checkpoint, False, 'none'
    exported = is_exported(checkpoint)
    if exported:
        use_exported(cfg, checkpoint)
        cfg.model.update(device=device, num_threads=torch.get_num_threads())
    else:
        use_fused_flip(cfg)
    name = Path(cfg.filename).stem
    cfg.work_dir = cfg.get('work_dir') or str(Path('work_dirs', name))
    # MMEngine's loggers and the like are shared by runs of the same name, and
    # write to the folder of the first.
    cfg.experiment_name = f'{name}_{uuid.uuid4().hex}'
    if cfg.get('visualizer'):
        cfg.visualizer.name = cfg.experiment_name
    with explain_errors(cfg):
        runner = Runner.from_cfg(cfg)
        if not exported:
            runner.register_hook(StrictCheckpointHook(checkpoint))
            runner.register_hook(FastTestHook())
        runner.model.to(device)
        if metrics is None:
            found = runner.test()
            metrics = {
                k: float(v) for k, v in found.items() if isinstance(v, Real)
            }
        else:
            runner.load_or_resume()
            runner.call_hook('before_test')
        loop, model = runner.test_loop, runner.model.eval()

    fp16 = getattr(loop, 'fp16', False)

    def predict(batch: Any) -> Any:
        with torch.no_grad(), autocast(enabled=fp16):
            return model.test_step(batch)

    batch_size = cfg.test_dataloader.get('batch_size') or 1
    return EvaluatedModel(
        metrics, predict, loop.dataloader.dataset, batch_size
    )


def find_accuracy(
    metrics: Dict[str, float], wanted: Optional[str] = None
) -> Tuple[float, str]:
    """Find the metric that is a model's accuracy.

    Args:
        metrics (dict[str, float]): The results of the model's evaluator.
        wanted (str, optional): The metric's key. Defaults to ``None``: the AP
            of keypoints, or else PCKh, or else PCK, or else PCK@0.1.

    Returns:
        tuple[float, str]: Its value, in percent for the metrics of COCO and
        :class:`~mmpose_ext.evaluation.KeypointPCK`, which are fractions; and
        its name on an axis.

    Raises:
        InputError: There is none, or it is not a finite number.
    """
    keys = {key.rpartition('/')[2]: key for key in reversed(metrics)}
    if wanted is not None:
        key, what = wanted, f"a metric '{wanted}'"
        hint = did_you_mean(wanted, metrics)
    else:
        key = next((keys[name] for name in _ACCURACIES if name in keys), None)
        what, hint = 'an AP, PCKh or PCK', '; choose one with --metric'
    if key not in metrics:
        raise InputError(
            f'expected {what} among {", ".join(metrics) or "no metrics"}{hint}'
        )
    value = metrics[key]
    if not math.isfinite(value):
        raise InputError(f'expected a finite {key}, got {value}')
    name = key.rpartition('/')[2]
    title = _ACCURACIES.get(name, name)
    if re.match(r'AP|AR|\w+_mAP|PCK@', name):
        return 100 * value, f'{title} (%)'
    # Of other metrics but LIP's it is unknown whether they are fractions.
    return value, f'{title} (%)' if key.startswith('lip/') else title
