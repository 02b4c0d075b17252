"""The configs of configs/person_detector."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmpose_ext.inference.persons import PersonDetector

FOLDER = Path(__file__).parents[1] / 'configs/person_detector'
(COCO,) = FOLDER.glob('*coco-person.py')
(TOY,) = FOLDER.glob('*toy-persons*.py')


def build(config):
    from mmdet.registry import MODELS

    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(config.model)


def shapes(model):
    return {key: value.shape for key, value in model.state_dict().items()}


def test_published_weights_of_mmdet_fit_the_coco_detector(tmp_path):
    from mmengine.hub import get_config

    base = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    theirs = build(get_config(base))
    config = Config.fromfile(COCO)
    config.test_dataloader.dataset.pipeline[1].scale = (128, 96)
    ours = build(config)
    assert shapes(ours) == shapes(theirs)

    # As published by MMDet 2.x: the names of the classes in capitals.
    checkpoint = tmp_path / 'coco.pth'
    classes = (*'abcdefghij', 'person')
    torch.save(
        dict(state_dict=theirs.state_dict(), meta=dict(CLASSES=classes)),
        checkpoint,
    )
    detector = PersonDetector(config, str(checkpoint))
    assert detector.person == 10
    assert detector.model.roi_head.test_cfg.score_thr == 0.01
    torch.testing.assert_close(
        detector.model.backbone.conv1.weight, theirs.backbone.conv1.weight
    )
    (found,) = detector([np.full((192, 256, 3), 99, np.uint8)])
    assert found.shape[1] == 5


def test_toy_detector_trains_and_predicts(toy_persons):
    config = Config.fromfile(TOY)
    train, val = config.train_dataloader.dataset, config.val_dataloader.dataset
    train.data_root = val.data_root = str(toy_persons)
    torch.manual_seed(0)
    model = build(config)
    with DefaultScope.overwrite_default_scope('mmdet'):
        from mmdet.registry import DATASETS

        train, val = DATASETS.build(train), DATASETS.build(val)
    assert (len(train), len(val)) == (12, 6)

    model.train()
    batch = model.data_preprocessor(
        pseudo_collate([train[i] for i in range(4)]), training=True
    )
    losses = model(**batch, mode='loss')
    total = sum(sum(loss) for loss in losses.values())
    total.backward()
    assert total.isfinite()
    assert set(losses) == {'loss_cls', 'loss_bbox'}
    for name, parameter in model.named_parameters():
        # No prior of the highest level may have been assigned to a person.
        if (
            not name.startswith('bbox_head.rtm_reg')
            and 'reg_convs' not in name
        ):
            assert parameter.grad.abs().max() > 0, name

    model.eval()
    with torch.no_grad():
        (result,) = model.test_step(pseudo_collate([val[0]]))
    assert result.ori_shape == (192, 256)
    boxes = result.pred_instances.bboxes
    assert boxes.shape[1] == 4
    assert len(boxes) <= 20
