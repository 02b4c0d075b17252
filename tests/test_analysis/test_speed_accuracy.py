import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmpose.registry import MODELS
from mmpose.visualization import PoseLocalVisualizer

from mmpose_ext.analysis import speed_accuracy
from mmpose_ext.analysis.speed_accuracy import (
    EvaluatedModel,
    ImageTimer,
    check_model,
    find_accuracy,
    find_family,
    identify_model,
    load_and_evaluate,
    measure_fps,
    shorten_name,
)
from mmpose_ext.errors import InputError
from mmpose_ext.inference.poses import load_pose_model


@pytest.fixture
def cfg(tiny_config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # for work_dirs
    return Config.fromfile(tiny_config)


@pytest.fixture
def weights(cfg, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / 'weights.pth'
    torch.save(MODELS.build(cfg.model).state_dict(), path)
    return str(path)


@pytest.mark.parametrize(
    'metrics, expected',
    [
        ({'coco/AR': 0.1, 'coco/AP': 0.5, 'lip/PCKh': 80}, (50, 'AP (%)')),
        ({'crowdpose/AP': 0.5}, (50, 'AP (%)')),
        ({'coco/bbox_mAP': 0.1, 'coco/keypoints_mAP': 0.5}, (50, 'AP (%)')),
        ({'lip/Head': 90.0, 'lip/PCKh': 80.0}, (80, 'PCKh (%)')),
        ({'PCK': 0.5, 'AUC': 0.1}, (0.5, 'PCK')),
    ],
)
def test_accuracy(metrics, expected):
    assert find_accuracy(metrics) == expected


@pytest.mark.parametrize(
    'wanted, expected',
    [
        ('coco/AP .5', (90, 'AP .5 (%)')),
        ('coco/AR', (60, 'AR (%)')),
        ('coco/bbox_mAP', (40, 'bbox_mAP (%)')),
        ('EPE', (3, 'EPE')),
    ],
)
def test_accuracy_that_is_wanted(wanted, expected):
    metrics = {
        'coco/AP': 0.5, 'coco/AP .5': 0.9, 'coco/AR': 0.6,
        'coco/bbox_mAP': 0.4, 'EPE': 3.0,
    }  # fmt: skip
    assert find_accuracy(metrics, wanted) == pytest.approx(expected)


def test_no_accuracy():
    with pytest.raises(InputError, match='PCK among EPE, AUC; choose one'):
        find_accuracy({'EPE': 1.0, 'AUC': 0.5})
    with pytest.raises(InputError, match='PCK among no metrics'):
        find_accuracy({})
    with pytest.raises(InputError, match="'coco/ap' among coco/AP; did you"):
        find_accuracy({'coco/AP': 0.5}, 'coco/ap')
    with pytest.raises(InputError, match='finite coco/AP, got nan'):
        find_accuracy({'coco/AP': math.nan})


def test_check_model(cfg, weights):
    check_model(cfg, weights)
    with pytest.raises(InputError, match=r"checkpoint 'no\.pth' does not"):
        check_model(cfg, 'no.pth')
    cfg.test_evaluator.format_only = True
    with pytest.raises(InputError, match='format_only=True'):
        check_model(cfg, weights)
    cfg.test_evaluator = None
    with pytest.raises(InputError, match="expected a 'test_evaluator'"):
        check_model(cfg, weights)


def test_identity(cfg, tiny_config, weights, tmp_path):
    identity = identify_model(cfg, weights)
    other = tmp_path / 'copy.pth'
    content = Path(weights).read_bytes()
    other.write_bytes(content)
    copy = Config.fromfile(tiny_config)
    assert identify_model(copy, str(other)) == identity
    other.write_bytes(content[:-1] + b'?')
    assert identify_model(cfg, str(other)) != identity
    copy.model.test_cfg.flip_test = True
    assert identify_model(copy, weights) != identity
    urls = [identify_model(cfg, f'http://x.invalid/{n}.pth') for n in 'ab']
    assert urls[0] != urls[1]


def test_what_lies_beside_an_exported_file(cfg, tmp_path):
    path = tmp_path / 'a.xml'
    path.write_text('network')
    alone = identify_model(cfg, str(path))
    path.with_suffix('.bin').mkdir()  # a pipe would wait for ever
    assert identify_model(cfg, str(path)) == alone
    path.with_suffix('.bin').rmdir()
    path.with_suffix('.bin').write_text('weights')
    assert identify_model(cfg, str(path)) != alone


def test_load_without_a_test(cfg, weights):
    metrics = {'coco/AP': 0.25}
    cfg.visualizer = dict(type='PoseLocalVisualizer', name='of this test')
    model = load_and_evaluate(cfg, weights, metrics=metrics)
    # A later run must not write to the folder of this one.
    assert not PoseLocalVisualizer.check_instance_created('of this test')
    assert model.metrics == metrics
    assert model.top_down and model.test_set == 'person_keypoints_val'
    assert model.batch_size == 8 and len(model.dataset) > 0
    batch = pseudo_collate([model.dataset[i] for i in (0, 1)])
    network = load_pose_model(cfg, weights, 'cpu')
    with torch.no_grad():
        expected = network.test_step(batch)
    for found, pose in zip(model.predict(batch), expected):
        keypoints = found.pred_instances.keypoints
        assert keypoints.tolist() == pose.pred_instances.keypoints.tolist()


def test_weights_that_do_not_fit(cfg, weights):
    state = torch.load(weights, weights_only=True)
    state.pop('head.final_layer.bias')
    torch.save(state, weights)
    with pytest.raises(InputError, match='1 missing from the checkpoint'):
        load_and_evaluate(cfg, weights)


@pytest.mark.parametrize(
    'path, name, family',
    [
        (
            'configs/psm/psm_hrnet-w32_8xb32-210e_coco-384x288.py',
            'psm hrnet-w32 coco-384x288',
            'psm',
        ),
        (
            'configs/body_2d_keypoint/dekr/coco/dekr_hrnet-w32_8xb10-140e.py',
            'dekr hrnet-w32',
            'dekr',
        ),
        ('configs/a/configs/b/c/d/e/x_y.py', 'x y', 'c'),
        ('configs/x.py', 'x', 'configs'),
        ('/elsewhere/mine/x.y.py', 'x.y', 'mine'),
    ],
)
def test_names_of_a_config(path, name, family):
    assert shorten_name(path) == name
    assert find_family(path) == family


class Dataset(list):
    """Samples that are (number, image)."""

    data_mode = 'topdown'
    ann_file = 'folder/some_val.json'

    def get_data_info(self, i):
        return dict(img_path=self[i][1])


def make_model(dataset, batch_size=2, predict=lambda batch: None):
    return EvaluatedModel({}, predict, dataset, batch_size)


# Of b.jpg, three persons that do not follow each other.
PERSONS = Dataset([(0, 'b'), (1, 'c'), (2, 'b'), (3, 'a'), (4, 'b')])


def test_name_of_the_test_set():
    model = make_model(PERSONS)
    assert model.test_set == 'some_val' and model.top_down
    assert make_model([]).test_set == '' and not make_model([]).top_down


def test_image_with_all_its_persons():
    batches = []
    model = make_model(PERSONS, predict=batches.append)
    timer = ImageTimer(model, 50)
    assert len(timer) == 3
    for i in range(3):
        assert timer(i) >= 0
        batches.append('next')
    persons = [b if b == 'next' else b[0] for b in batches]
    assert persons == [(3,), 'next', (0, 2), (4,), 'next', (1,), 'next']


def test_images_are_spread_over_the_test_set():
    numbers = list(range(100))
    dataset = Dataset([(n, f'{n:03}') for n in reversed(numbers)])
    found = []
    model = make_model(dataset, predict=lambda batch: found.extend(batch[0]))
    timer = ImageTimer(model, 4)
    for i in range(len(timer)):
        timer(i)
    assert found == [0, 33, 66, 99]
    assert len(ImageTimer(model, 1)) == 1


def test_test_set_without_a_sample():
    with pytest.raises(InputError, match='no sample'):
        ImageTimer(make_model(Dataset()))


@pytest.mark.parametrize('preprocessing, seconds', [(False, 6), (True, 906)])
def test_what_the_clock_sees(preprocessing, seconds, monkeypatch):
    class Clock:
        now = 0

    class Slow(Dataset):
        def __getitem__(self, i):
            Clock.now += 300
            return super().__getitem__(i)

    def predict(batch):
        Clock.now += 3

    monkeypatch.setattr(speed_accuracy.time, 'perf_counter', lambda: Clock.now)
    model = make_model(Slow(PERSONS), predict=predict)
    # b.jpg: three samples to prepare, two batches.
    assert ImageTimer(model, 3, preprocessing)(1) == seconds


class Timer:
    """Seconds as a test wants them; notes who was called."""

    def __init__(self, name, seconds, number, calls):
        self.name, self.number, self.calls = name, number, calls
        self.seconds = iter(seconds)

    def __len__(self):
        return self.number

    def __call__(self, i):
        assert 0 <= i < self.number
        self.calls.append(f'{self.name}{i}')
        return next(self.seconds)


def test_images_per_second_of_each_round():
    calls = []
    a = Timer('a', [100, 100, 1, 3, 2, 6], 2, calls)
    b = Timer('b', [100, 100, 0.5, 0.25], 1, calls)
    assert measure_fps([a, b], 2, 2) == [[2 / 4, 2 / 8], [2, 4]]
    assert calls == [
        'a0', 'a1', 'b0', 'b0',  # warm-up
        'a0', 'a1', 'b0', 'a0', 'a1', 'b0',
    ]  # fmt: skip


def test_models_take_turns_within_a_round():
    calls = []
    timers = [Timer(name, [1] * 30, 25, calls) for name in 'ab']
    measure_fps(timers, rounds=1, warmup=0)
    order = [name for name, i in zip(calls, ['', *calls]) if name[0] != i[:1]]
    assert order == ['a0', 'b0', 'a10', 'b10', 'a20', 'b20']
    assert len(calls) == len(set(calls)) == 50


def test_nothing_to_measure():
    assert measure_fps([]) == []
