"""The person boxes of any MMDet detector."""

import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmpose_ext.errors import InputError
from mmpose_ext.inference import PersonDetector
from mmpose_ext.inference.files import read_image


@pytest.fixture
def image(toy_persons) -> np.ndarray:
    return read_image(toy_persons / 'val/000000000001.jpg')


def reweight(checkpoint, path, **meta) -> str:
    """The same weights with another meta."""
    weights = torch.load(checkpoint)['state_dict']
    torch.save(dict(state_dict=weights, meta=meta), path)
    return str(path)


def overlaps(boxes) -> np.ndarray:
    """IoU of boxes (N, 4+) by its definition, (N, N)."""
    lt = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    rb = np.minimum(boxes[:, None, 2:4], boxes[None, :, 2:4])
    common = (rb - lt).clip(0).prod(axis=2)
    area = (boxes[:, 2:4] - boxes[:, :2]).prod(axis=1)
    return common / (area[:, None] + area[None] - common)


@pytest.fixture(scope='module')
def detector(tiny_detector):
    config, checkpoint = tiny_detector
    return PersonDetector(Config.fromfile(config), str(checkpoint))


def test_keeps_the_person_boxes_of_the_detector(
    detector, tiny_detector, image
):
    from mmdet.apis import inference_detector, init_detector

    (found,) = detector([image])
    reference = init_detector(*map(str, tiny_detector), 'random', 'cpu')
    expected = inference_detector(reference, image).pred_instances
    assert set(expected.labels.tolist()) == {0, 1, 2}
    expected = expected[expected.labels == 1]
    assert len(found) == len(expected) > 3
    assert (np.diff(found[:, 4]) <= 0).all()
    order = expected.scores.argsort(descending=True)
    np.testing.assert_allclose(found[:, 4], expected.scores[order], rtol=1e-6)
    np.testing.assert_allclose(
        found[:, :4], expected.bboxes[order], rtol=1e-5, atol=1e-4
    )


def test_a_batch_has_the_boxes_of_its_images(detector, toy_persons):
    images = [
        read_image(path) for path in sorted(toy_persons.glob('val/*.jpg'))[:3]
    ]
    for found, image in zip(detector(images), images):
        np.testing.assert_allclose(found, detector([image])[0], atol=1e-2)


def test_thresholds(tiny_detector, image):
    config, checkpoint = tiny_detector
    config = Config.fromfile(config)
    config.model.test_cfg.nms.iou_threshold = 0.9

    def detect(**thresholds):
        return PersonDetector(config, str(checkpoint), **thresholds)([image])[
            0
        ]

    everything = detect()
    score_thr = float(np.median(everything[:, 4]))
    np.testing.assert_array_equal(
        detect(score_thr=score_thr), everything[everything[:, 4] >= score_thr]
    )

    apart = detect(nms_thr=0.3)
    assert 0 < len(apart) < len(everything)
    assert overlaps(apart)[np.triu_indices(len(apart), 1)].max() <= 0.3
    np.testing.assert_array_equal(apart[0], everything[0])
    # What is gone overlaps something better that is still there.
    both = overlaps(np.concatenate([apart, everything]))
    assert (both[: len(apart), len(apart) :].max(axis=0) > 0.3).all()


def test_boxes_without_area_are_dropped(detector, image, monkeypatch):
    predict = detector.model.test_step

    def flatten_first(batch):
        results = predict(batch)
        instances = results[0].pred_instances
        person = (instances.labels == 1).nonzero()[0]
        instances.bboxes[person, 2] = instances.bboxes[person, 0]
        return results

    before = len(detector([image])[0])
    monkeypatch.setattr(detector.model, 'test_step', flatten_first)
    assert len(detector([image])[0]) == before - 1


@pytest.mark.parametrize(
    ('meta', 'label'),
    [
        (dict(dataset_meta=dict(CLASSES=('person', 'cat', 'dog'))), 0),
        (dict(CLASSES=('cat', 'dog', 'person')), 2),
        ({}, 1),  # from the config
    ],
)
def test_names_of_classes(tiny_detector, tmp_path, meta, label):
    config, checkpoint = tiny_detector
    checkpoint = reweight(checkpoint, tmp_path / 'x.pth', **meta)
    assert PersonDetector(Config.fromfile(config), checkpoint).person == label


def test_names_of_classes_of_the_dataset(tiny_detector, tmp_path):
    config, checkpoint = tiny_detector
    config = Config.fromfile(config)
    dataset = config.test_dataloader.dataset
    del dataset['metainfo']
    config.test_dataloader.dataset = dict(
        type='RepeatDataset', times=1, dataset=dataset
    )
    checkpoint = reweight(checkpoint, tmp_path / 'x.pth')
    assert PersonDetector(config, checkpoint).person == 0  # of COCO


def test_mistakes(tiny_detector, tmp_path, monkeypatch):
    path, checkpoint = tiny_detector
    classes = dict(classes=('cat', 'dog', 'cow'))
    cats = reweight(checkpoint, tmp_path / 'cats.pth', dataset_meta=classes)
    numbers = reweight(checkpoint, tmp_path / 'n.pth', CLASSES=[1, 2, 3])
    odd = tmp_path / 'odd.pth'
    torch.save(dict(state_dict=5), odd)

    def load(path, **changes):
        config = Config.fromfile(path)
        config.merge_from_dict(changes)
        return config

    for config, weights, message in [
        (load(path), cats, "cats.pth.*without the class 'person'.*cat, dog"),
        (load(path, default_scope='mmpose'), checkpoint, 'MMPose'),
        (Config(dict(model={})), checkpoint, "'test_dataloader'"),
        (load(path, **{'model.neck.type': 'FPM'}), checkpoint, "'FPM'"),
        (load(path, **{'model.neck.out_channels': 8}), checkpoint, 'neck'),
        (load(path), tmp_path / 'none.pth', 'none.pth'),
        (load(path), numbers, r'classes \[1, 2, 3\], expected a list of'),
        (load(path), odd, r"odd.pth'.*under 'state_dict', got int"),
    ]:
        with pytest.raises(InputError, match=message):
            PersonDetector(config, str(weights))

    monkeypatch.setitem(sys.modules, 'mmdet.registry', None)
    with pytest.raises(InputError, match=r'pip install .*mmdet'):
        PersonDetector(load(path), str(checkpoint))


def test_wrong_thresholds():
    for name, value in [('score_thr', float('nan')), ('nms_thr', -0.1)]:
        with pytest.raises(ValueError, match=f'^{name} must be .*{value}$'):
            PersonDetector(Config(), 'weights.pth', **{name: value})
