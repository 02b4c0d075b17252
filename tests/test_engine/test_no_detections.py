"""Metrics of configs whose detection file has no box left."""

import pytest
from mmengine.config import Config
from mmpose.evaluation import CocoMetric

from mmpose_ext.engine.no_detections import accept_no_detections
from mmpose_ext.errors import InputError


def accept(scope, metric):
    cfg = Config(
        dict(
            default_scope=scope,
            test_dataloader=dict(sampler=dict(round_up=True)),
            test_evaluator=dict(type=metric),
        )
    )
    accept_no_detections(cfg, 'test', [dict(bbox_file='boxes.json')])
    assert cfg.test_dataloader.sampler.round_up is False
    return cfg.test_evaluator.type


@pytest.mark.parametrize(
    ('scope', 'metric'),
    [
        ('mmpose', 'CocoMetric'),
        ('mmpose', CocoMetric),
        ('mmdet', 'mmpose.CocoMetric'),
        ('mmengine', 'mmpose.evaluation.CocoMetric'),
    ],
)
def test_mmposes_metric_is_replaced(scope, metric):
    assert accept(scope, metric) == 'mmpose.EmptySafeCocoMetric'


def test_metrics_that_need_no_change_stay():
    for metric in ('EmptySafeCocoMetric', 'DumpResults'):
        assert accept('mmpose', metric) == metric


@pytest.mark.parametrize(
    ('scope', 'metric'),
    [('mmpose', 'PCKAccuracy'), ('mmdet', 'CocoMetric')],
)
def test_other_metrics_are_refused(scope, metric):
    with pytest.raises(InputError, match=f'which {metric} cannot do'):
        accept(scope, metric)
