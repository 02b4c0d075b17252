"""Evaluation of configs whose detection file has no box left."""

import logging
from typing import Sequence

from mmengine.evaluator import DumpResults
from mmengine.logging import print_log
from mmengine.registry import METRICS
from mmpose.evaluation import CocoMetric

from ..errors import InputError
from ..evaluation import EmptySafeCocoMetric, ExpansionUpperBound

# Metrics that need no change.
_EMPTY_SAFE = (EmptySafeCocoMetric, ExpansionUpperBound, DumpResults)


def accept_no_detections(cfg, split: str, datasets: Sequence[dict]) -> None:
    """Change a config such that datasets without a sample can be evaluated.

    MMEngine can neither serialise nor round up an empty dataset, and MMPose's
    ``CocoMetric`` cannot evaluate one.

    Args:
        cfg (Config): The config, changed in place.
        split (str): ``'val'`` or ``'test'``.
        datasets (Sequence[dict]): The parts of the config that describe a
            dataset without a sample. Without any, nothing is changed.

    Raises:
        InputError: The config's metrics cannot evaluate an empty result.
    """
    if not datasets:
        return
    for dataset in datasets:
        dataset['serialize_data'] = False
        print_log(
            f"no box of the detection file '{dataset['bbox_file']}' is left "
            'to evaluate: every person counts as missed',
            logger='current',
            level=logging.WARNING,
        )
    cfg[f'{split}_dataloader']['sampler']['round_up'] = False

    scope = cfg.get('default_scope', 'mmengine')
    evaluator = cfg[f'{split}_evaluator']
    for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
        kind = metric.get('type')
        if isinstance(kind, str):
            with METRICS.switch_scope_and_registry(scope) as registry:
                kind = registry.get(kind)
        if kind is CocoMetric:
            metric['type'] = 'mmpose.EmptySafeCocoMetric'
        elif kind not in _EMPTY_SAFE:
            raise InputError(
                f"detection file '{datasets[0]['bbox_file']}' leaves no box "
                f'to evaluate, which {metric.get("type")} cannot do'
            )
