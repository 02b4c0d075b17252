"""What the classes for MMDet have in common."""

import math

import numpy as np
import pytest

from mmpose_ext import multitask
from mmpose_ext.multitask.inference import MultiTaskDrawer

FLAGS = (None, 'False', 2, math.nan, [], {})
NAMES = (None, 'text', True, 1, math.nan, [], {})
PATHS = (None, '', 5, True, math.nan, ['a.json'], {})
# Numbers are spoilt for all registered classes elsewhere.
WRONG = {
    'OffsetKeypointHead': dict(
        heatmap_refine=FLAGS,
        activation=NAMES,
        loss=NAMES,
        occluded_as_zero=FLAGS,
        decode=NAMES,
    ),
    'CocoKeypointMetric': dict(
        ann_file=PATHS,
        with_bbox=FLAGS,
        format_only=FLAGS,
        outfile_prefix=PATHS[1:],
        overwrite=FLAGS,
    ),
}


@pytest.mark.parametrize('name', WRONG)
def test_nonsense_is_refused_by_name(name):
    given = dict(ann_file='no.json') if name == 'CocoKeypointMetric' else {}
    for argument, values in WRONG[name].items():
        for value in values:
            with pytest.raises(
                ValueError, match=rf'^{argument} must be .* got '
            ):
                getattr(multitask, name)(**{**given, argument: value})


def test_numbers_of_numpy_are_numbers():
    head = multitask.OffsetKeypointHead(
        num_keypoints=np.int64(3),
        in_channels=np.int64(4),
        conv_channels=np.int32(8),
        num_convs=np.int64(1),
        sigma=np.float32(2),
    )
    assert head.heatmap_deconv.weight.shape == (8, 3, 4, 4)
    assert type(head.num_keypoints) is int and type(head.sigma) is float


def test_threshold_of_the_drawer():
    with pytest.raises(ValueError, match=r'^kpt_thr must be .* nan$'):
        MultiTaskDrawer({}, math.nan)


@pytest.mark.parametrize('value', ['1', None, True, math.nan, -1, 1.5, []])
def test_filter_of_the_dataset(value):
    dataset = multitask.CocoPersonDataset(
        filter_cfg=dict(min_keypoints=value), lazy_init=True
    )
    dataset.data_list, dataset.cat_ids = [], []
    with pytest.raises(ValueError, match=r"^filter_cfg\['min_keypoints'\] mu"):
        dataset.filter_data()
