import json

import numpy as np
import pytest
from mmpose.datasets import CocoDataset
from mmpose.evaluation import CocoMetric
from mmpose.registry import METRICS

from mmpose_ext.evaluation import EmptySafeCocoMetric


def test_nothing_detected_is_evaluated_like_far_away_predictions(toy_persons):
    """By COCO's evaluation, a person missed counts as one found nowhere."""
    ann_file = toy_persons / 'annotations/person_keypoints_val.json'
    image_id = json.loads(ann_file.read_text())['images'][0]['id']
    far = dict(
        id=0,
        img_id=image_id,
        category_id=1,
        keypoints=np.random.default_rng(0).uniform(1e5, 2e5, (1, 17, 2)),
        keypoint_scores=np.ones((1, 17)),
        bbox_scores=np.ones(1),
        areas=np.array([900.0]),
    )

    def evaluate(metric, results):
        metric.dataset_meta = CocoDataset(lazy_init=True).metainfo
        metric.results = results
        return metric.evaluate(len(results))

    args = dict(ann_file=str(ann_file))
    ours = METRICS.build(dict(type='EmptySafeCocoMetric', **args))
    nothing = evaluate(ours, [])
    assert nothing['coco/AP'] == 0.0 and nothing['coco/AR'] == 0.0
    assert nothing == evaluate(CocoMetric(**args), [(far, {})])
    assert nothing == evaluate(EmptySafeCocoMetric(**args), [(far, {})])
    with pytest.raises(ValueError):  # why the subclass is there
        evaluate(CocoMetric(**args), [])
