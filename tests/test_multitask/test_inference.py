import json
import re
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmpose_ext.errors import InputError
from mmpose_ext.multitask import CocoPersonDataset
from mmpose_ext.multitask.inference import (
    MultiTaskDrawer,
    MultiTaskPredictor,
    describe_persons,
)

CONFIG = Path(__file__).parents[1] / 'tiny_multitask.py'
WITHOUT_MASKS = {
    'model.type': 'FasterRCNN',
    'model.roi_head.mask_head': None,
    'model.roi_head.mask_roi_extractor': None,
}


def load_config(changes=None):
    config = Config.fromfile(CONFIG)
    config.merge_from_dict(changes or {})
    return config


def save_weights(config, path):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config.model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return str(path)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('model') / 'random.pth'
    return save_weights(load_config(), path)


@pytest.fixture(scope='module')
def predict(checkpoint):
    return MultiTaskPredictor(load_config(), checkpoint)


def images():
    rng = np.random.default_rng(0)
    shapes = [(96, 128, 3), (120, 80, 3)]
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def persons(n=1, masks=True):
    """Joints on a diagonal, and a mask of 8 x 5 px."""
    k = np.arange(17)
    joints = np.stack([12.5 + 4 * k, 22.5 + 2 * k], axis=1)
    found = InstanceData(
        bboxes=np.tile([10.0, 20, 90, 70], (n, 1)),
        scores=np.full(n, 0.75),
        labels=np.zeros(n, int),
        keypoints=np.tile(joints, (n, 1, 1)),
        keypoint_scores=np.full((n, 17), 0.5),
    )
    if masks:
        found.masks = np.zeros((n, 100, 120), bool)
        found.masks[:, 50:55, 20:28] = True
    return found


def test_persons_of_a_batch(predict):
    found = predict(images())
    assert len(found) == 2
    for image, result in zip(images(), found):
        height, width = image.shape[:2]
        n = len(result)
        assert 0 < n <= 10
        assert result.bboxes.shape == (n, 4)
        assert result.scores.shape == (n,)
        assert result.keypoints.shape == (n, 17, 2)
        assert result.keypoint_scores.shape == (n, 17)
        assert result.masks.shape == (n, height, width)
        assert result.masks.dtype == bool
        # In the pixels of the image: joints are inside of their boxes.
        assert (result.bboxes <= [width, height, width, height]).all()
        low, high = result.bboxes[:, None, :2], result.bboxes[:, None, 2:]
        assert (result.keypoints >= low - 1e-3).all()
        assert (result.keypoints <= high + 1e-3).all()


def test_without_masks(tmp_path):
    config = load_config(WITHOUT_MASKS)
    path = save_weights(config, tmp_path / 'random.pth')
    (found,) = MultiTaskPredictor(config, path)(images()[:1])
    assert len(found) > 0
    assert 'masks' not in found
    assert found.keypoints.shape == (len(found), 17, 2)


def test_metainfo_is_that_of_the_dataset(predict):
    meta = predict.dataset_meta
    assert meta['classes'] == ('person',)
    assert meta['keypoint_id2name'][0] == 'nose'
    assert meta['num_keypoints'] == 17


def test_json():
    found = persons(2)
    entries = json.loads(json.dumps(describe_persons(found)))
    assert len(entries) == 2
    entry = entries[1]
    assert entry['bbox'] == [[10, 20, 90, 70]]
    assert entry['bbox_score'] == 0.75
    assert entry['keypoint_scores'] == [0.5] * 17
    # The centre of the first pixel is 0 there and 0.5 in the network.
    assert entry['keypoints'][:2] == [[12, 22], [16, 24]]
    assert isinstance(entry['mask']['counts'], str)
    np.testing.assert_array_equal(
        mask_util.decode(entry['mask']), found.masks[1]
    )


@pytest.mark.parametrize('masks', [True, False])
def test_json_of_less(masks):
    assert describe_persons(persons(0, masks=masks)) == []
    (entry,) = describe_persons(persons(masks=False))
    assert set(entry) == {'bbox', 'bbox_score', 'keypoints', 'keypoint_scores'}


@pytest.mark.parametrize('masks', [True, False])
@pytest.mark.parametrize(
    ('size', 'factor'), [((100, 120), 4), ((240, 400), 2), ((500, 700), 1)]
)
def test_pictures_are_enlarged(masks, size, factor):
    """With all that is drawn at its place."""
    found = persons(masks=masks)
    if masks:
        found.masks = np.zeros((1, *size), bool)
        found.masks[:, 62:66, 20:28] = True
    image = np.full((*size, 3), 90, np.uint8)
    before = image.copy()
    drawn = MultiTaskDrawer(CocoPersonDataset.METAINFO)(image, found)
    assert drawn.shape == (factor * size[0], factor * size[1], 3)
    np.testing.assert_array_equal(image, before)

    colours = np.array(CocoPersonDataset.METAINFO['keypoint_colors'])
    x, y = (found.keypoints[0] * factor).astype(int).T
    # Joints that no later one covers.
    np.testing.assert_array_equal(drawn[y, x][-1, ::-1], colours[-1])
    inside = drawn[64 * factor, 24 * factor]
    assert (inside != 90).any() == masks
    changed = (drawn != 90).any(-1)
    # Matplotlib 3.10 draws it all up to two rows higher than 3.11.
    assert not changed[: 17 * factor].any()
    assert not changed[:, : 9 * factor].any()
    assert changed[45 * factor, 10 * factor - 2 : 10 * factor + 2].any()


def test_nobody_to_draw():
    image = np.full((100, 120, 3), 90, np.uint8)
    drawn = MultiTaskDrawer(CocoPersonDataset.METAINFO)(image, persons(0))
    assert drawn.shape == (400, 480, 3)
    assert (drawn == 90).all()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model.roi_head.keypoint_head': None}, "no .*'keypoint_head'"),
        ({'model.roi_head': None}, "expected a 'keypoint_head'"),
        (
            {'test_dataloader.dataset.type': 'CocoDataset'},
            r'describes 0 keypoints, the keypoint_head has 17',
        ),
        ({'model.roi_head.type': 'MultiTaskRoIhead'}, 'MultiTaskRoIHead'),
        ({'model.roi_head.keypoint_head.num_convs': 3}, 'another archit'),
    ],
)
def test_mistakes(checkpoint, changes, message):
    config = load_config(changes)
    with pytest.raises(InputError, match=message) as error:
        MultiTaskPredictor(config, checkpoint)
    assert re.search(r'tiny_multitask\.py|random\.pth|roi_head', str(error))
