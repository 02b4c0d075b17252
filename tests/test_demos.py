"""What the demos have in common."""

import argparse
import json

import cv2
import numpy as np
import pytest
from mmengine.structures import InstanceData
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from mmpose_ext import demos
from mmpose_ext.demos import (
    PoseEstimation,
    ScoreThreshold,
    add_image_arguments,
    add_model_arguments,
    describe_keypoints,
    draw_images,
    load_models,
)
from mmpose_ext.errors import InputError
from mmpose_ext.inference.files import list_images
from mmpose_ext.inference.outputs import plan_outputs


def load(*arguments):
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    return load_models(
        parser.parse_args([*map(str, arguments), '--device', 'cpu'])
    )


def test_models(pose_model, bottomup_model, tiny_detector):
    config, checkpoint = tiny_detector
    detector = ['--det-config', config, '--det-checkpoint', checkpoint]
    model, found = load(*pose_model)
    assert type(model).__name__ == 'TopdownPoseEstimator'
    assert found is None
    _, found = load(*pose_model, *detector, '--score-thr', '0.7')
    assert found.score_thr == 0  # that of PoseEstimation sees all boxes

    for half in (detector[:2], detector[2:]):
        with pytest.raises(InputError, match='belong together'):
            load(*pose_model, *half)
    with pytest.raises(InputError, match='another architecture'):
        load(*pose_model, *detector[:3], pose_model[1])
    with pytest.raises(InputError, match=r"tiny\.py' needs a checkpoint"):
        load(pose_model[0])
    with pytest.raises(InputError, match='weights in it: leave out a'):
        load('model.onnx', 'a.pth')

    model, found = load(*bottomup_model)
    assert type(model).__name__ == 'BottomupPoseEstimator'
    assert found is None
    with pytest.raises(InputError, match=r'finds the persons itself.*tiny_d'):
        load(*bottomup_model, *detector)


@pytest.fixture
def scores(monkeypatch):
    """The scores of the persons in the images without boxes, in turn."""
    scores = []

    def estimate(model, image, boxes=None, batch_size=32, score_thr=0.0):
        found = scores.pop(0) if boxes is None else boxes[:, 4].tolist()
        return InstanceData(bbox_scores=[s for s in found if s >= score_thr])

    monkeypatch.setattr(demos, 'estimate_poses', estimate)
    return scores


HINT = 'no person scored at least 0.3: the highest score was {}, see '
HINT += '--score-thr\n'


@pytest.mark.parametrize(
    ('found', 'kept', 'hint'),
    [
        ([[0.05, 0.1234], [], [0.02]], [0, 0, 0], HINT.format(0.123)),
        ([[-2.0]], [0], HINT.format(-2)),
        ([[], []], [0, 0], 'no person was found, whatever the score\n'),
        ([[0.1], [0.3, 0.2, 0.9]], [0, 2], ''),
        ([], [], ''),
    ],
)
def test_a_hint_if_nobody_scores_enough(found, kept, hint, scores, capsys):
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    scores += found
    estimate = PoseEstimation(None, 0.3)
    assert [len(estimate(image).bbox_scores) for _ in found] == kept
    estimate.report_nobody()
    assert capsys.readouterr() == ('', hint)

    estimate = PoseEstimation(None, 0.3)
    for persons, number in zip(found, kept):
        boxes = np.zeros((len(persons), 5))
        boxes[:, 4] = persons
        assert len(estimate(image, boxes).bbox_scores) == number
    estimate.report_nobody()
    assert capsys.readouterr() == ('', hint)


def test_keypoints():
    meta = parse_pose_metainfo(
        dict(from_file='configs/_base_/datasets/coco.py')
    )
    described = describe_keypoints(meta)
    assert described['dataset_name'] == 'coco'
    assert described['keypoint_names'][:2] == ['nose', 'left_eye']
    assert len(described['keypoint_names']) == 17
    assert described['skeleton_links'][0] == (15, 13)  # ankle to knee


def test_images_are_drawn(tmp_path, capsys, monkeypatch):
    meta = dict(dataset_name='x', keypoint_id2name={0: 'a'}, skeleton_links=[])
    parser = argparse.ArgumentParser()
    add_image_arguments(parser, 2, 'images')
    out = tmp_path / 'out'
    args = parser.parse_args([str(tmp_path), '--out-dir', str(out)])
    for i in (1, 2, 4, 5):
        picture = np.full((20, 30 + i, 3), 10 * i, np.uint8)
        cv2.imwrite(str(tmp_path / f'{i}.png'), picture)
    (tmp_path / '3.png').touch()
    outputs = plan_outputs(list_images(str(tmp_path)), out)
    threshold, batches = ScoreThreshold(0.3), []

    def find(images):
        batches.append([path.stem for path in images])
        return [[0.5] * image[0, 0, 0] for image in images.values()]

    def draw(item):
        image, scores = item
        if len(scores) == 40:
            raise InputError('too many')
        threshold.select(scores)
        return [dict(score=score) for score in scores], 255 - image

    old = outputs[tmp_path / '3.png'].prediction
    old.parent.mkdir(parents=True)
    old.write_text('old')  # stays, since there is no new one
    with pytest.raises(SystemExit, match='1'):
        draw_images(args, outputs, meta, find, draw, threshold)
    assert batches == [['1', '2'], ['4'], ['5']]
    printed = capsys.readouterr()
    assert printed.out == f'80 persons in 3 images: {out}\n'
    assert 'Finding persons' in printed.err
    assert 'no person' not in printed.err
    names = ', '.join(f"'{tmp_path / name}.png'" for name in '34')
    assert printed.err.endswith(f'3 of 5 images done; skipped: {names}\n')
    assert old.read_text() == 'old'
    for kind, names in (('visualizations', '125'), ('predictions', '1235')):
        found = sorted(path.stem for path in (out / kind).iterdir())
        assert found == [*names]
    assert json.loads((out / 'predictions/2.json').read_text()) == dict(
        meta_info=dict(
            dataset_name='x', keypoint_names=['a'], skeleton_links=[],
            image=str(tmp_path / '2.png'), width=32, height=20,
        ),
        instance_info=[dict(score=0.5)] * 20,
    )  # fmt: skip
    drawn = cv2.imread(str(out / 'visualizations/2.jpg')).astype(int)
    assert drawn.shape == (20, 32, 3)
    assert np.abs(drawn - 235).max() < 3

    outputs = {tmp_path / '1.png': outputs[tmp_path / '1.png']}
    threshold = ScoreThreshold(0.6)
    draw_images(args, outputs, meta, find, draw, threshold)
    assert 'the highest score was 0.5,' in capsys.readouterr().err

    # Neither a defect nor a full disk is the fault of an image.
    with pytest.raises(ZeroDivisionError):
        draw_images(args, outputs, meta, find, lambda item: 1 / 0, threshold)

    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.replace', fail)
    with pytest.raises(OSError, match='No space left'):
        draw_images(args, outputs, meta, find, draw, threshold)


def test_a_threshold_that_is_not_finite():
    with pytest.raises(ValueError, match=r'^score_thr must be .*nan$'):
        PoseEstimation(None, float('nan'))


@pytest.mark.parametrize('option', ['--score-thr', '--kpt-thr'])
def test_thresholds_that_are_not_numbers(option, capsys):
    for text in ('nan', 'inf', 'high'):
        with pytest.raises(SystemExit):
            load('config.py', 'weights.pth', f'{option}={text}')
        error = capsys.readouterr().err
        assert f"{option}: expected a finite number, got '{text}'" in error
