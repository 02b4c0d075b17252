"""MMPose's own inferencer takes every pose config."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.infer import infer
from mmpose.apis import MMPoseInferencer

CONFIGS = Path(__file__).parents[1] / 'configs'
POSE = [
    path
    for folder in ('gccpm', 'logocap', 'psm', 'ram_gpr')
    for path in sorted((CONFIGS / folder).glob('*.py'))
]
TOY = [path for path in POSE if '_toy-' in path.name]


def open_config(path):
    # By default it downloads a detector for top-down models.
    return MMPoseInferencer(
        pose2d=str(path), det_model='whole_image', device='cpu'
    )


class Stub(torch.nn.Module):
    """What an inferencer asks of a model, without its millions of weights."""

    test_cfg: dict = {}


@pytest.mark.parametrize('path', POSE, ids=lambda path: path.stem)
def test_every_config(path, monkeypatch):
    monkeypatch.setattr(infer.MODELS, 'build', lambda cfg: Stub())
    inferencer = open_config(path).inferencer
    top_down = path.parent.name != 'logocap'
    assert inferencer.cfg.data_mode == ('topdown' if top_down else 'bottomup')
    image = np.zeros((64, 48, 3), dtype=np.uint8)
    (sample,) = inferencer.preprocess_single(image, 0)
    pipeline = inferencer.cfg.test_dataloader.dataset.pipeline
    (resize,) = (step for step in pipeline if 'input_size' in step)
    width, height = resize.input_size
    if top_down:
        assert sample['inputs'].shape == (3, height, width)
        box = sample['data_samples'].gt_instances.bboxes
        assert box.tolist() == [[0, 0, 48, 64]]
    else:  # the short side, and what keeps the aspect ratio
        assert sample['inputs'].shape[2] == width
        assert height * 4 / 3 <= sample['inputs'].shape[1] < height * 3 / 2


def test_all_families_have_a_toy_config():
    assert len(TOY) == 4
    assert len(POSE) > 30


@pytest.mark.parametrize('path', TOY, ids=lambda path: path.parent.name)
def test_end_to_end(path):
    torch.manual_seed(0)
    inferencer = open_config(path)
    image = np.random.RandomState(0).randint(0, 255, (60, 80, 3), np.uint8)
    (result,) = inferencer(image, return_vis=True)
    (persons,) = result['predictions']
    k = inferencer.inferencer.model.dataset_meta['num_keypoints']
    for person in persons:
        assert np.shape(person['keypoints']) == (k, 2)
        assert np.isfinite(person['keypoints']).all()
        assert len(person['keypoint_scores']) == k
    assert len(persons) == (path.parent.name != 'logocap')
    assert result['visualization'][0].shape == (60, 80, 3)
